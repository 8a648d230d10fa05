-- wrk's result as one line of JSON.
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '{"micros":%d,"requests":%d,"errors":{"connect":%d,"read":%d,"write":%d,"timeout":%d,"status":%d}}\n',
    summary.duration, summary.requests, e.connect, e.read, e.write, e.timeout, e.status))
end
