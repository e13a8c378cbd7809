//! How often a client has asked: a bucket of tokens for each.

use crate::options::Rate;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Most clients that are remembered; all whose buckets are full are forgotten first.
const CLIENTS: usize = 1 << 16;

/// Buckets of all clients.
pub(crate) struct Buckets {
    rate: Rate,
    of: Mutex<HashMap<IpAddr, Bucket>>,
}

struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Buckets {
    pub(crate) fn new(rate: Rate) -> Self {
        Self { rate, of: Mutex::new(HashMap::new()) }
    }

    /// Takes a token of `client`, or says how long to wait for one.
    pub(crate) fn take(&self, client: IpAddr, now: Instant) -> Result<(), Duration> {
        let Rate { per_second, burst } = self.rate;
        let filled = |bucket: &Bucket| {
            (bucket.tokens + per_second * now.saturating_duration_since(bucket.at).as_secs_f64()).min(burst)
        };
        let mut of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        if of.len() >= CLIENTS {
            of.retain(|_, bucket| filled(bucket) < burst);
            if of.len() >= CLIENTS {
                of.clear();
            }
        }
        let bucket = of.entry(network(client)).or_insert(Bucket { tokens: burst, at: now });
        *bucket = Bucket { tokens: filled(bucket), at: now };
        if bucket.tokens < 1.0 {
            return Err(Duration::from_secs_f64(((1.0 - bucket.tokens) / per_second).min(3600.0)));
        }
        bucket.tokens -= 1.0;
        Ok(())
    }
}

/// Whom an address belongs to: of IPv6 everybody has 2⁶⁴ at least.
fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_its_burst_and_then_its_rate() {
        let buckets = Buckets::new(Rate { per_second: 2.0, burst: 3.0 });
        let (now, a, b) = (Instant::now(), IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        assert_eq!([(); 4].map(|()| buckets.take(a, now).is_ok()), [true, true, true, false]);
        assert_eq!(buckets.take(a, now), Err(Duration::from_millis(500)));
        assert!(buckets.take(b, now).is_ok(), "others are not concerned");
        let later = now + Duration::from_millis(600);
        assert!(buckets.take(a, later).is_ok() && buckets.take(a, later).is_err());
        let long_after = now + Duration::from_secs(60);
        assert_eq!([(); 4].map(|()| buckets.take(a, long_after).is_ok()), [true, true, true, false]);
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let [a, b, c] = ["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"].map(|text| network(text.parse().unwrap()));
        assert!(a == b && a != c);
        assert_eq!(network("::ffff:10.0.0.1".parse().unwrap()), IpAddr::from([10, 0, 0, 1]));
    }

    #[test]
    fn memory_is_bounded() {
        let buckets = Buckets::new(Rate { per_second: 1.0, burst: 1.0 });
        let now = Instant::now();
        for i in 0..CLIENTS as u32 + 10 {
            assert!(buckets.take(IpAddr::from(i.to_be_bytes()), now).is_ok());
        }
        assert!(buckets.of.lock().unwrap().len() <= CLIENTS);
    }
}
