/** Health checks as the configuration wants them: from a service's keys to what lb/health is told about its servers. */
import { UNCHECKED } from '../../lb/dest.ts';
import type { HealthChecks } from '../../lb/health/checks.ts';
import type { CheckSpec } from '../../lb/health/spec.ts';
import type { ServiceTable } from '../../lb/service.ts';
import type { CheckConfig, DestConfig, ServiceConfig } from '../config/model.ts';
import { hostHeader } from '../config/rows/check.ts';

/**
 * Checks the servers of service `id` as `service` says, or no longer. To be called after every change of them: servers that
 * are watched already keep their state. Servers that left the service end their checks themselves.
 */
export function watchServers(health: HealthChecks, services: ServiceTable, id: number, service: ServiceConfig): void {
  const { check } = service;
  const servers = service.backup === null ? service.dests : [...service.dests, service.backup];
  for (const server of servers) {
    const dest = services.dests.find(id, server.ip, server.port);
    if (check === null) health.unwatch(dest);
    else health.watch(dest, checkSpec(check, server));
  }
}

/** The same in a worker that does not check: a server that is new counts as it would there, until the worker that checks has told. */
export function assumeHealth({ dests }: ServiceTable, id: number, service: ServiceConfig): void {
  const { check } = service;
  const servers = service.backup === null ? service.dests : [...service.dests, service.backup];
  for (const server of servers) {
    const dest = dests.find(id, server.ip, server.port);
    if (check === null) dests.clearHealth(dest);
    else if (dests.health[dest] === UNCHECKED) dests.setHealth(dest, check.start === 'up', 0);
  }
}

function checkSpec(check: CheckConfig, server: DestConfig): CheckSpec {
  const { port, intervalMs, timeoutMs, rise, fall, start, passive, http } = check;
  return {
    ...{ port: port ?? 0, intervalMs, timeoutMs, rise, fall, passive },
    startUp: start === 'up',
    http: http && {
      method: http.method,
      path: http.path,
      host: hostHeader(http.host, server, port),
      status: http.status,
      body: new TextEncoder().encode(http.body),
    },
  };
}
