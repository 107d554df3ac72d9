-- As load.lua, for several paths in turn: those behind its arguments.
dofile(debug.getinfo(1, "S").source:match("@(.*/)") .. "load.lua")

local requests, turn = {}, 0
local begin = init

function init(arguments)
  begin(arguments)
  for index = 3, #arguments do
    requests[#requests + 1] = wrk.format(nil, arguments[index])
  end
end

function request()
  turn = turn % #requests + 1
  return requests[turn]
end
