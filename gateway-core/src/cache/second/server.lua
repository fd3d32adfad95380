-- Nothing that was told to another server counts: this one may be a copy that lacks the last purges, or have come back with
-- what it had written down before them.
--
-- KEYS   the server that all was told to, the generation of everything
-- ARGV   this server
--
-- Answers the time: {seconds, microseconds}.

if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  redis.call('DEL', KEYS[2])
  redis.call('SET', KEYS[1], ARGV[1])
end
return redis.call('TIME')
