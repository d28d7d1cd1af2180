//! Which addresses and names a cluster uses, all derived from one small number.
//!
//! A cluster's *slot* sets its bridge, its node, pod and service networks. Two clusters of different slots
//! share nothing.

/// The most clusters on one machine: what the address plan has room for.
pub(crate) const SLOTS: u8 = 32;

/// The addresses of the cluster in one slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Addresses {
    slot: u8,
}

impl Addresses {
    pub(crate) fn of_slot(slot: u8) -> Self {
        assert!(slot < SLOTS, "slots are numbered below {SLOTS}");
        Self { slot }
    }

    /// The bridge that joins the nodes, on the machine itself.
    pub(crate) fn bridge(self) -> String {
        format!("eddy{}", self.slot)
    }
    /// The machine's own address on that bridge.
    pub(crate) fn host(self) -> String {
        format!("10.88.{}.1", self.slot)
    }
    pub(crate) fn node_network(self) -> String {
        format!("10.88.{}.0/24", self.slot)
    }
    /// Node `number`, counted from 1.
    pub(crate) fn node(self, number: u8) -> String {
        format!("10.88.{}.{}", self.slot, 10 + number)
    }
    pub(crate) fn network_namespace(self, number: u8) -> String {
        format!("{}-node{number}", self.bridge())
    }
    /// The machine's end of the cable to a node.
    pub(crate) fn cable(self, number: u8) -> String {
        format!("{}n{number}", self.bridge())
    }
    /// Control plane `number`, counted from 1.
    pub(crate) fn control_plane(self, number: u8) -> String {
        format!("10.88.{}.{}", self.slot, 200 + number)
    }
    /// The one address that stands for all control planes.
    pub(crate) fn api(self) -> String {
        format!("10.88.{}.200", self.slot)
    }
    pub(crate) fn pod_network(self) -> String {
        format!("10.{}.0.0/16", 128 + self.slot)
    }
    pub(crate) fn pods_of_node(self, number: u8) -> String {
        format!("10.{}.{number}.0/24", 128 + self.slot)
    }
    pub(crate) fn service_network(self) -> String {
        format!("10.{}.0.0/16", 192 + self.slot)
    }
    pub(crate) fn kubernetes_service(self) -> String {
        format!("10.{}.0.1", 192 + self.slot)
    }
    pub(crate) fn dns_service(self) -> String {
        format!("10.{}.0.10", 192 + self.slot)
    }
    /// The machine's own firewall table for this cluster.
    pub(crate) fn firewall_table(self) -> String {
        format!("eddy{}", self.slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_slots_share_no_network() {
        let (a, b) = (Addresses::of_slot(0), Addresses::of_slot(31));
        for (left, right) in [
            (a.node_network(), b.node_network()),
            (a.pod_network(), b.pod_network()),
            (a.service_network(), b.service_network()),
            (a.bridge(), b.bridge()),
        ] {
            assert_ne!(left, right);
        }
    }

    #[test]
    fn interface_names_fit_the_kernel() {
        let widest = Addresses::of_slot(SLOTS - 1);
        assert!(widest.bridge().len() < 16 && widest.cable(99).len() < 16);
    }
}
