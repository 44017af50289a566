//! Stand-ins that nobody can make, until zsocket has keys. Temporary.
#![allow(missing_docs, dead_code)]
use crate::zsocket::*;
#[derive(Clone, Debug)]
pub enum KeyRing {}
#[derive(Clone, Debug)]
pub enum SharedKeyRing {}
#[derive(Clone, Debug)]
pub enum ClientKeys {}
#[derive(Debug)]
pub enum ZapHandler {}
#[derive(Debug)]
pub struct PeerTable {}
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    Viewer,
    Operator,
    Admin,
}
impl std::fmt::Display for Role {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Ok(())
    }
}
#[derive(Clone, Debug)]
pub struct Member {
    pub name: String,
    pub role: Role,
}
impl KeyRing {
    pub fn server(&self) -> &CurveKeyPair {
        match *self {}
    }
}
impl ClientKeys {
    pub fn keys(&self) -> &CurveKeyPair {
        match *self {}
    }
    pub fn server(&self) -> &PublicKey {
        match *self {}
    }
}
impl SharedKeyRing {
    pub fn watch(ring: &KeyRing) -> Result<Self, ZsocketError> {
        match *ring {}
    }
    pub fn on_change(&self, _: impl Fn() + Send + Sync + 'static) {
        match *self {}
    }
    pub fn member_by_name(&self, _: &str) -> Option<Member> {
        match *self {}
    }
}
impl ZapHandler {
    pub fn start(_: &Context, k: SharedKeyRing) -> Result<Self, ZsocketError> {
        match k {}
    }
}
impl PeerTable {
    pub fn new(_: u16) -> Self {
        Self {}
    }
    pub fn saw(&mut self, _: &Frame) {}
    pub fn users(&self) -> Vec<String> {
        vec![]
    }
    pub fn disconnect_user(&mut self, _: &str) -> usize {
        0
    }
}
