#!/usr/bin/env bash
# Runs the tests of one group and ends with the line "N passed, N failed".
#
#   scripts/run_test.sh [protocol|ring|hash|sim|e2e|soak|all]  all, when none is named
#   scripts/run_test.sh test/FILE.test.ts...                  these files
#
# End-to-end tests build network namespaces: they need root or user namespaces, and are skipped, with the reason,
# where there is neither. With CI=true a skipped test is a failed one.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib/shell.sh"

cd "$project"
status=0
scripts/setup.sh test || status=$?
# 3: only system packages are missing. The tests that use them say so; the others can run.
((status == 0 || status == 3)) || exit "$status"

exec node --import tsx test/run.ts "$@"
