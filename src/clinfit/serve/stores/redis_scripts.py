"""What has to happen together in Redis: scripts in Lua, which the server runs alone. `redis.py` says what the keys are.

Every script gets the hash tag as its key and its values as arguments, of which the first is mostly a job's id. What
ends or erases a job deletes before it writes anything: a server whose memory is full refuses a script that begins with
what may need more, and lets one go on that has begun.
"""

#: What every script begins with. A chunk's state is token, tries, reason and, while it is held, the end of its holder's
#: lease. A job is kept for as long as the service that took it said, whatever a worker was told.
HEAD = """
local tag = '{clinfit}'
local now = redis.call('TIME')
now = tonumber(now[1]) + tonumber(now[2]) / 1000000
local function key(...) return table.concat({tag, ...}, ':') end
local function job(name) return redis.call('HGET', key('job', ARGV[1]), name) end
local function touch() redis.call('HINCRBY', key('job', ARGV[1]), 'revision', 1) end
local function chunk(start)
  local text = redis.call('HGET', key('chunks', ARGV[1]), start)
  return text and cjson.decode(text) or {token = 0, tries = 0, reason = ''}
end
local function after_all(ring)
  return (tonumber(redis.call('ZREVRANGE', ring, 0, 0, 'WITHSCORES')[2]) or 0) + 1
end
local function enqueue(queue, id, start)
  local told = redis.call('HMGET', key('job', id), 'owner', 'keep')
  local owners, ring = key('owners', queue), key('turns', queue, told[1])
  redis.call('SADD', key('queues'), queue)
  redis.call('ZADD', key('todo', id), start, start)
  if told[2] then redis.call('EXPIRE', key('todo', id), told[2]) end
  redis.call('ZADD', ring, 'NX', after_all(ring), id)
  redis.call('ZADD', owners, 'NX', after_all(owners), told[1])
end
local function leave(queue, owner, id)
  redis.call('ZREM', key('turns', queue, owner), id)
  if redis.call('EXISTS', key('turns', queue, owner)) == 0 then redis.call('ZREM', key('owners', queue), owner) end
end
local function keep_chunk(start, value) redis.call('HSET', key('chunks', ARGV[1]), start, cjson.encode(value)) end
local function forget(queue, entry)
  redis.call('XACK', key('queue', queue), 'workers', entry)
  redis.call('XDEL', key('queue', queue), entry)
end
local function ours(start, token, queue, entry)
  if not job('id') or job('ended') ~= '' then forget(queue, entry) return false end
  return chunk(start).token == tonumber(token) and redis.call('HEXISTS', key('results', ARGV[1]), start) == 0
end
local function wait_less(owner, records)
  if redis.call('HINCRBY', key('waiting'), owner, -records) <= 0 then redis.call('HDEL', key('waiting'), owner) end
end
local function kept(keep) return job('keep') or keep end
local function finish(state, keep)
  local undone = tonumber(job('total')) - tonumber(job('done'))
  redis.call('DEL', key('items', ARGV[1]), key('todo', ARGV[1]))
  if undone > 0 then wait_less(job('owner'), undone) end
  redis.call('HSET', key('job', ARGV[1]), 'state', state, 'ended', string.format('%.6f', now))
  leave(job('queue'), job('owner'), ARGV[1])
  keep = kept(keep)
  for _, part in ipairs({'job', 'results', 'chunks', 'failures'}) do
    redis.call('EXPIRE', key(part, ARGV[1]), keep)
  end
end
"""

#: job id, idempotency key or '', digest, most, most of owner, keep, job as JSON, position and records of each chunk
SUBMIT = """
local fields = cjson.decode(ARGV[7])
local used = key('key', fields.owner, ARGV[2])
if ARGV[2] ~= '' then
  local known = redis.call('HMGET', used, 'job', 'digest')
  if known[1] and redis.call('EXISTS', key('job', known[1])) == 1 then
    if known[2] ~= ARGV[3] then return 'reused' end
    return known[1]
  end
end
local total, all = tonumber(fields.total), 0
for _, count in ipairs(redis.call('HVALS', key('waiting'))) do all = all + tonumber(count) end
local own = tonumber(redis.call('HGET', key('waiting'), fields.owner) or 0)
if all + total > tonumber(ARGV[4]) or own + total > tonumber(ARGV[5]) then return 'full' end
for name, value in pairs(fields) do redis.call('HSET', key('job', ARGV[1]), name, value) end
redis.call('HSET', key('job', ARGV[1]), 'keep', ARGV[6])
redis.call('ZADD', key('jobs'), fields.created, ARGV[1] .. ':' .. fields.owner)
redis.call('ZADD', key('jobs', fields.owner), fields.created, ARGV[1])
redis.call('HINCRBY', key('waiting'), fields.owner, total)
for at = 8, #ARGV, 2 do
  redis.call('HSET', key('items', ARGV[1]), ARGV[at], ARGV[at + 1])
  enqueue(fields.queue, ARGV[1], ARGV[at])
end
for _, part in ipairs({'job', 'items'}) do redis.call('EXPIRE', key(part, ARGV[1]), ARGV[6]) end
if ARGV[2] ~= '' then
  redis.call('HSET', used, 'job', ARGV[1], 'digest', ARGV[3])
  redis.call('EXPIRE', used, ARGV[6])
  redis.call('HSET', key('job', ARGV[1]), 'key', used)
end
return ''
"""

#: queue, worker: an entry that nobody had, as the stream tells it. Where the stream has none, the next chunk is put
#: there: of the owner whose turn is the longest ago, and of their job whose turn is, the one that stands first.
TAKE = """
local queue, stream = ARGV[1], key('queue', ARGV[1])
local owners = key('owners', queue)
local function read()
  local found = redis.call('XREADGROUP', 'GROUP', 'workers', ARGV[2], 'COUNT', 1, 'STREAMS', stream, '>')
  return found and found[1][2][1]
end
local function feed()
  while true do
    local owner = redis.call('ZRANGE', owners, 0, 0)[1]
    if not owner then return false end
    local ring = key('turns', queue, owner)
    local id = redis.call('ZRANGE', ring, 0, 0)[1]
    local start = id and redis.call('ZPOPMIN', key('todo', id))[1]
    if start then
      redis.call('ZADD', ring, after_all(ring), id)
      redis.call('ZADD', owners, after_all(owners), owner)
    end
    if not id or redis.call('EXISTS', key('todo', id)) == 0 then leave(queue, owner, id or '') end
    if start then
      redis.call('XADD', stream, '*', 'job', id, 'start', start)
      return true
    end
  end
end
return read() or (feed() and read())
"""

#: job id, start, queue, entry, keep, lease: what a worker that was handed an entry holds; nil where nobody wants it, an
#: empty list where its holder, which has a longer lease than the worker, is not late
BEGIN = """
local items = redis.call('HGET', key('items', ARGV[1]), ARGV[2])
local done = redis.call('HEXISTS', key('results', ARGV[1]), ARGV[2])
if not items or done == 1 or not job('id') or job('ended') ~= '' then forget(ARGV[3], ARGV[4]) return false end
local state = chunk(ARGV[2])
if state.held and now < state.held then return {} end
state.token = state.token + 1
state.tries = state.tries + 1
state.held = now + tonumber(ARGV[6])
keep_chunk(ARGV[2], state)
redis.call('EXPIRE', key('chunks', ARGV[1]), kept(ARGV[5]))
if job('state') == 'queued' then
  redis.call('HSET', key('job', ARGV[1]), 'state', 'running', 'started', string.format('%.6f', now))
  touch()
end
return {items, state.token, state.tries, state.reason, job('task')}
"""

#: job id, start, token, queue, entry, consumer, lease: hold it longer
RENEW = """
if not ours(ARGV[2], ARGV[3], ARGV[4], ARGV[5]) then return 0 end
local state = chunk(ARGV[2])
state.held = now + tonumber(ARGV[7])
keep_chunk(ARGV[2], state)
redis.call('XCLAIM', key('queue', ARGV[4]), 'workers', ARGV[6], 0, ARGV[5], 'JUSTID')
return 1
"""

#: job id, start, token, queue, entry, results as JSON, done, failed, referred, keep, failures as JSON
WRITE = """
if not ours(ARGV[2], ARGV[3], ARGV[4], ARGV[5]) then return 0 end
redis.call('HSET', key('results', ARGV[1]), ARGV[2], ARGV[6])
redis.call('EXPIRE', key('results', ARGV[1]), kept(ARGV[10]))
for at, name in ipairs({'done', 'failed', 'referred'}) do
  redis.call('HINCRBY', key('job', ARGV[1]), name, ARGV[6 + at])
end
wait_less(job('owner'), tonumber(ARGV[7]))
touch()
forget(ARGV[4], ARGV[5])
for _, failure in ipairs(cjson.decode(ARGV[11])) do
  failure.time = now
  redis.call('ZADD', key('failures', ARGV[1]), failure.index, cjson.encode(failure))
end
redis.call('EXPIRE', key('failures', ARGV[1]), kept(ARGV[10]))
if tonumber(job('done')) == tonumber(job('total')) then
  finish(job('failed') == job('total') and 'failed' or 'succeeded', ARGV[10])
end
return 1
"""

#: job id, start, token, queue, entry, seconds, reason, tries to take back: give it back
BACK = """
if not ours(ARGV[2], ARGV[3], ARGV[4], ARGV[5]) then return 0 end
local state = chunk(ARGV[2])
state.tries = state.tries - tonumber(ARGV[8])
if ARGV[7] ~= '' then state.reason = ARGV[7] end
state.token = state.token + 1
state.held = nil
keep_chunk(ARGV[2], state)
forget(ARGV[4], ARGV[5])
if tonumber(ARGV[6]) > 0 then
  redis.call('ZADD', key('later'), now + tonumber(ARGV[6]), cjson.encode({ARGV[4], ARGV[1], ARGV[2]}))
else
  enqueue(ARGV[4], ARGV[1], ARGV[2])
end
return 1
"""

#: chunks whose time has come wait for their turn again, unless their job has ended
DUE = """
for _, text in ipairs(redis.call('ZRANGEBYSCORE', key('later'), '-inf', now, 'LIMIT', 0, 100)) do
  local entry = cjson.decode(text)
  redis.call('ZREM', key('later'), text)
  if redis.call('HGET', key('job', entry[2]), 'ended') == '' then enqueue(entry[1], entry[2], entry[3]) end
end
return 0
"""

#: job id, start, token, queue, entry, then for each record its position and itself: every record a chunk of its own
SPLIT = """
if not ours(ARGV[2], ARGV[3], ARGV[4], ARGV[5]) then return 0 end
local state = chunk(ARGV[2])
for at = 6, #ARGV, 2 do
  redis.call('HSET', key('items', ARGV[1]), ARGV[at], ARGV[at + 1])
  keep_chunk(ARGV[at], {token = state.token + 1, tries = 0, reason = ''})
  enqueue(ARGV[4], ARGV[1], ARGV[at])
end
forget(ARGV[4], ARGV[5])
return 1
"""

#: job id, state, keep: end it where it has not ended
END = """
if not job('id') or job('ended') ~= '' then return 0 end
finish(ARGV[2], ARGV[3])
touch()
return 1
"""

#: job id: nothing of it stays
ERASE = """
if not job('id') then return 0 end
local undone = job('ended') == '' and tonumber(job('total')) - tonumber(job('done')) or 0
local used, owner, queue = job('key'), job('owner'), job('queue')
for _, part in ipairs({'job', 'items', 'todo', 'results', 'chunks', 'failures'}) do
  redis.call('DEL', key(part, ARGV[1]))
end
if used then redis.call('DEL', used) end
if undone > 0 then wait_less(owner, undone) end
redis.call('ZREM', key('jobs'), ARGV[1] .. ':' .. owner)
redis.call('ZREM', key('jobs', owner), ARGV[1])
leave(queue, owner, ARGV[1])
return 1
"""

#: Members of `jobs` whose job Redis has forgotten. What waits is counted anew: nobody knows how much of it was theirs.
GONE = """
for _, member in ipairs(ARGV) do
  local id, owner = string.match(member, '([^:]*):(.*)')
  redis.call('ZREM', key('jobs'), member)
  redis.call('ZREM', key('jobs', owner), id)
  for _, queue in ipairs(redis.call('SMEMBERS', key('queues'))) do leave(queue, owner, id) end
end
redis.call('DEL', key('waiting'))
for _, member in ipairs(redis.call('ZRANGE', key('jobs'), 0, -1)) do
  local id, owner = string.match(member, '([^:]*):(.*)')
  local values = redis.call('HMGET', key('job', id), 'ended', 'total', 'done')
  local undone = values[1] == '' and tonumber(values[2]) - tonumber(values[3]) or 0
  if undone > 0 then redis.call('HINCRBY', key('waiting'), owner, undone) end
end
return 0
"""

#: queue: it is closed where nothing waits and nobody works; whoever sends to it or works on it makes it again
CLOSE = """
local stream = key('queue', ARGV[1])
if redis.call('EXISTS', key('owners', ARGV[1])) == 1 then return 0 end
if redis.call('EXISTS', stream) == 1 then
  if redis.call('XLEN', stream) > 0 then return 0 end
  for _, group in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
    if group[4] > 0 then return 0 end
  end
  redis.call('DEL', stream)
end
redis.call('SREM', key('queues'), ARGV[1])
return 1
"""

SCRIPTS = {
    "submit": SUBMIT, "take": TAKE, "begin": BEGIN, "renew": RENEW, "write": WRITE, "back": BACK, "due": DUE,
    "split": SPLIT, "end": END, "erase": ERASE, "gone": GONE, "close": CLOSE,
}  # fmt: skip
