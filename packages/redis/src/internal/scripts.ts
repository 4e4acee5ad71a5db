import { createHash } from "node:crypto"

export interface Script {
  readonly text: string
  readonly sha: string
}

const script = (text: string): Script => ({ text, sha: createHash("sha1").update(text).digest("hex") })

// o: owner, s: 1 when it is done, f: fingerprint, r: result. What is not there is an absent field.
export const begin = script(`
local r = redis.call('HMGET', KEYS[1], 'o', 's', 'f', 'r')
if r[1] and (r[2] == '1' or r[1] ~= ARGV[1]) then
  return {r[2], redis.call('PTTL', KEYS[1]), r[3], r[4]}
end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'o', ARGV[1], 's', '0')
if ARGV[3] then redis.call('HSET', KEYS[1], 'f', ARGV[3]) end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return {'claimed'}`)

export const extend = script(`
local r = redis.call('HMGET', KEYS[1], 'o', 's')
if r[1] ~= ARGV[1] or r[2] ~= '0' then return 0 end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1`)

export const complete = script(`
local o = redis.call('HGET', KEYS[1], 'o')
if o and o ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'o', ARGV[1], 's', '1')
if ARGV[3] == '1' then redis.call('HSET', KEYS[1], 'f', ARGV[4]) end
if ARGV[5] == '1' then redis.call('HSET', KEYS[1], 'r', ARGV[6]) end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1`)

export const abandon = script(`
local r = redis.call('HMGET', KEYS[1], 'o', 's')
if r[1] == ARGV[1] and r[2] == '0' then redis.call('DEL', KEYS[1]) end
return 1`)

export const lookUp = script(`
local r = redis.call('HMGET', KEYS[1], 'o', 's', 'f', 'r')
if not r[1] then return false end
return {r[2], redis.call('PTTL', KEYS[1]), r[3], r[4]}`)
