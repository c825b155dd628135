//! Who may take up how much before saying who they are.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// How many connections each address has that have not said who they are: plain ones, and sockets before `hello`.
#[derive(Default)]
pub struct Addresses {
    open: Mutex<HashMap<IpAddr, usize>>,
}

/// A place in the count, given back when its last clone is dropped.
#[derive(Clone)]
pub struct Place {
    _held: Arc<Held>,
}

struct Held {
    addresses: Arc<Addresses>,
    ip: IpAddr,
}

impl Addresses {
    /// Takes a place for a new connection; `None` when its address has `max` already.
    pub fn enter(addresses: &Arc<Self>, ip: IpAddr, max: usize) -> Option<Place> {
        let mut open = addresses.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(ip).or_insert(0);
        if *count >= max {
            return None;
        }
        *count += 1;
        Some(Place { _held: Arc::new(Held { addresses: Arc::clone(addresses), ip }) })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut open = self.addresses.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.ip) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.ip);
            }
        }
    }
}
