//! Where a service listens: addresses, ports, and what its sockets accept.

use std::net::IpAddr;

use crate::rpc::RpcError;
use crate::rpc::service::options::RpcOptions;
use crate::zsocket::{
    Context, Endpoint, SharedKeyRing, Socket, SocketKind, SocketOptions, SocketSecurity,
    addresses_of,
};

/// Makes the bound sockets of one service.
pub(crate) struct Binding<'a> {
    context: &'a Context,
    options: &'a RpcOptions,
    addresses: Vec<IpAddr>,
    common: SocketOptions,
}

impl<'a> Binding<'a> {
    /// Decides the addresses; binds nothing yet.
    ///
    /// # Errors
    /// [`RpcError::Exposed`], [`RpcError::NoAddress`], or an address or interface that is none.
    pub(crate) fn new(
        context: &'a Context,
        options: &'a RpcOptions,
        keys: Option<&SharedKeyRing>,
    ) -> Result<Self, RpcError> {
        let addresses = addresses(options)?;
        let security = match keys {
            Some(keys) => SocketSecurity::CurveServer {
                keys: keys.server().clone(),
                zap_domain: "acqbus".to_owned(),
            },
            None => SocketSecurity::Null,
        };
        let common = SocketOptions::default()
            .linger(Some(options.linger))
            .handshake_timeout(options.handshake_timeout)
            .tcp_keepalive(true)
            .security(security);
        Ok(Self {
            context,
            options,
            addresses,
            common,
        })
    }

    /// The publisher's socket: an XPUB, on the wire a PUB.
    pub(crate) fn publisher(&self) -> Result<(Vec<Endpoint>, Socket), RpcError> {
        let options = self
            .common
            .clone()
            .send_hwm(self.options.send_hwm)
            .max_message_bytes(Some(MAX_SUBSCRIPTION))
            .xpub_verbose(true)
            .xpub_nodrop(self.options.back_pressure);
        self.bind(SocketKind::Xpub, &options, self.options.subscriber_port)
    }

    /// The dispatcher's socket: a ROUTER, on the wire a REP.
    pub(crate) fn dispatcher(&self) -> Result<(Vec<Endpoint>, Socket), RpcError> {
        let hwm = self.options.command_hwm.max(1);
        let limit = self
            .options
            .max_command_bytes
            .saturating_add(OVERSIZE_ANSWERED);
        let options = self
            .common
            .clone()
            .recv_hwm(hwm)
            .send_hwm(hwm.max(REPLIES_HELD))
            .router_mandatory(true)
            .max_message_bytes(Some(limit));
        self.bind(SocketKind::Router, &options, self.options.command_port)
    }

    fn bind(
        &self,
        kind: SocketKind,
        options: &SocketOptions,
        port: u16,
    ) -> Result<(Vec<Endpoint>, Socket), RpcError> {
        let socket = self.context.socket(kind, options)?;
        // Before the first connection can come.
        socket.monitor_failures()?;
        let mut endpoints: Vec<Endpoint> = Vec::new();
        for address in &self.addresses {
            // Port 0 is decided by the first address and holds for the others.
            let port = endpoints.first().and_then(Endpoint::port).unwrap_or(port);
            endpoints.push(socket.bind(&Endpoint::tcp_ip(*address, port))?);
        }
        Ok((endpoints, socket))
    }
}

/// The addresses to bind, each checked against the rule that what is reachable has keys.
fn addresses(options: &RpcOptions) -> Result<Vec<IpAddr>, RpcError> {
    let mut addresses = Vec::new();
    if options.reachable {
        addresses.push(IpAddr::from([0, 0, 0, 0]));
    } else {
        for name in &options.bind {
            for address in addresses_of(name)? {
                if !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
        }
    }
    if addresses.is_empty() {
        return Err(RpcError::NoAddress);
    }
    let exposed = addresses.iter().find(|address| !address.is_loopback());
    match exposed {
        Some(&address) if options.keys.is_none() && !options.insecure => {
            Err(RpcError::Exposed { address })
        }
        _ => Ok(addresses),
    }
}

/// How far a request may exceed the limit and still get an answer that says so; beyond, the connection ends.
const OVERSIZE_ANSWERED: usize = 64 << 10;

/// Largest message that a subscriber may send: a topic has 4 bytes, and its end of the wire carries nothing else.
const MAX_SUBSCRIPTION: usize = 1024;

/// Replies held for one client at least: one that sends many requests at once is answered faster than the network takes them.
const REPLIES_HELD: u32 = 1000;
