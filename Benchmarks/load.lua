-- What wrk sends, and its result as one line that a program can read.
-- Arguments: method, bytes of body, and "close" to have each connection end with its answer.
function init(arguments)
  wrk.method = arguments[1]
  local byte_count = tonumber(arguments[2])
  if byte_count > 0 then
    wrk.body = string.rep("m", byte_count)
  end
  if arguments[3] == "close" then
    wrk.headers["Connection"] = "close"
  end
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\nRESULT {"requests": %d, "microseconds": %d, "p99": %d, "errors": '
      .. '{"connect": %d, "read": %d, "write": %d, "status": %d, "timeout": %d}}\n',
    summary.requests, summary.duration, latency:percentile(99),
    errors.connect, errors.read, errors.write, errors.status, errors.timeout))
end
