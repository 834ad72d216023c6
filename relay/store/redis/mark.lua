#!lua flags=allow-oom
-- Leaves nothing, and yet is a write to its connection and to replicas: a WAIT behind it covers all that was there.
--
-- KEYS: any of this server's that nobody uses.

redis.set_repl(redis.REPL_NONE)
redis.call('SET', KEYS[1], '')
redis.set_repl(redis.REPL_REPLICA)
redis.call('DEL', KEYS[1])
return 1
