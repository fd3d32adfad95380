-- Keeps an answer, unless one that is there was asked for later.
--
-- KEYS   the entry, then, when answers of its name differ by request fields, what says by which
-- ARGV   the entry, its life in milliseconds, when it was asked for (as in the entry), the fields
--
-- Answers 1 when it is kept.

local name = KEYS[2] or KEYS[1]

-- Of what is kept in this form; '' when there is none, or it does not say.
local function asked(key, form)
  if redis.call('GETRANGE', key, 0, 2) ~= form then
    return ''
  end
  local time
  if form == 'r1A' then
    time = redis.call('GETRANGE', key, 3, 18)
  else
    -- Behind the fields.
    time = redis.call('GETRANGE', key, -16, -1)
  end
  return string.match(time, '^%d+$') or ''
end

local differ = asked(name, 'r1V')
if asked(KEYS[1], 'r1A') > ARGV[3] or asked(name, 'r1A') > ARGV[3] or (not KEYS[2] and differ > ARGV[3]) then
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
if KEYS[2] and differ <= ARGV[3] then
  redis.call('SET', KEYS[2], ARGV[4], 'PX', ARGV[2])
end
return 1
