//! Records in Redis, for all replicas together. An owner that has not ended its claim in time is taken to be gone.

use std::sync::Arc;

use super::{Claim, KEPT, Known, RecordError};
use crate::store::RedisStore;

/// By the server's clock, the same for all replicas. Fields: f fingerprint, o owner, u until (ms), a outcome.
const BEGIN: &str = "
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local known = redis.call('HMGET', KEYS[1], 'f', 'o', 'u', 'a')
if not known[1] then
  redis.call('HSET', KEYS[1], 'f', ARGV[1], 'o', ARGV[2], 'u', string.format('%d', now + ARGV[3]))
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
  return {'claimed', ''}
end
if known[1] ~= ARGV[1] then return {'other', ''} end
if known[4] then return {'done', known[4]} end
if known[2] and known[2] ~= '' and tonumber(known[3]) > now then return {'in-flight', ''} end
redis.call('HSET', KEYS[1], 'o', ARGV[2], 'u', string.format('%d', now + ARGV[3]))
return {'claimed', ''}
";

const END: &str = "
if redis.call('HGET', KEYS[1], 'o') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'o', '')
if ARGV[2] ~= '' then redis.call('HSET', KEYS[1], 'a', ARGV[2]) end
return 1
";

pub(super) async fn begin(
    redis: &Arc<RedisStore>,
    claim: &Claim,
) -> Result<Known<String>, RecordError> {
    let mut pipeline = redis::pipe();
    pipeline
        .cmd("EVAL")
        .arg(BEGIN)
        .arg(1)
        .arg(key(redis, claim))
        .arg(&claim.fingerprint)
        .arg(claim.owner.to_string())
        .arg(claim.lease.as_millis().to_string())
        .arg(KEPT.as_millis().to_string());
    let ((known, outcome),): ((String, String),) =
        redis.ask(pipeline).await.map_err(RecordError::Redis)?;
    match known.as_str() {
        "claimed" => Ok(Known::Claimed),
        "other" => Ok(Known::OtherPayload),
        "in-flight" => Ok(Known::InFlight),
        "done" => Ok(Known::Done(outcome)),
        _ => Err(RecordError::Redis("an answer that is not known".to_owned())),
    }
}

pub(super) async fn end(
    redis: &Arc<RedisStore>,
    claim: &Claim,
    outcome: Option<String>,
) -> Result<(), RecordError> {
    let mut pipeline = redis::pipe();
    pipeline
        .cmd("EVAL")
        .arg(END)
        .arg(1)
        .arg(key(redis, claim))
        .arg(claim.owner.to_string())
        .arg(outcome.unwrap_or_default());
    let (_ended,): (i64,) = redis.ask(pipeline).await.map_err(RecordError::Redis)?;
    Ok(())
}

fn key(redis: &RedisStore, claim: &Claim) -> String {
    redis.key(format_args!("idempotency:{}", claim.key))
}
