-- Posts the requests of a list, in turn, and says at the end what came back.
-- The list is a file of three lines per request: path, content type, and the name of a file with the body.
local requests, at = {}, 0

function init(arguments)
    local list, mode = io.open(arguments[1], "r"), arguments[2]
    for path in list:lines() do
        local headers = { ["Content-Type"] = list:read("*l") }
        if mode == "close" then headers["Connection"] = "close" end
        local file = io.open(list:read("*l"), "rb")
        requests[#requests + 1] = wrk.format("POST", path, headers, file:read("*a"))
        file:close()
    end
    list:close()
end

function request()
    at = at % #requests + 1
    return requests[at]
end

function done(summary, latency, _)
    local errors = summary.errors
    io.write(string.format(
        '\n{"requests": %d, "seconds": %.6f, "p50_ms": %.3f, "p99_ms": %.3f, "refused": %d, "broken": %d}\n',
        summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
        errors.status, errors.connect + errors.read + errors.write + errors.timeout
    ))
end
