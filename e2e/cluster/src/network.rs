//! The bridge that joins the nodes, and each node's network namespace.

use std::fs;

use anyhow::Result;

use crate::addresses::Addresses;
use crate::command::{attempt, output, run};

/// Makes the bridge with the machine's own address, the control planes' addresses and the way out.
pub(crate) fn ensure_bridge(addresses: Addresses, control_planes: u8) -> Result<()> {
    let bridge = addresses.bridge();
    if !exists(&bridge) {
        ip(&["link", "add", &bridge, "type", "bridge"])?;
    }
    ip(&["link", "set", &bridge, "up"])?;
    ip(&["addr", "replace", &format!("{}/24", addresses.host()), "dev", &bridge])?;
    ip(&["addr", "replace", &format!("{}/32", addresses.api()), "dev", &bridge])?;
    for number in 1..=control_planes {
        ip(&["addr", "replace", &format!("{}/32", addresses.control_plane(number)), "dev", &bridge])?;
    }
    fs::write("/proc/sys/net/ipv4/ip_forward", "1")?;
    let rules = format!(
        "table ip {table} {{}}\ndelete table ip {table}\ntable ip {table} {{\n chain out {{ type nat hook postrouting priority srcnat; ip saddr {network} ip daddr != {network} oifname != {{ \"{bridge}\", \"lo\" }} masquerade; }}\n}}\n",
        table = addresses.firewall_table(),
        network = addresses.node_network(),
    );
    run(std::process::Command::new("nft").args(["-f", "-"]), Some(&rules))?;
    Ok(())
}

/// Makes node `number`'s namespace, its cable to the bridge, and routes to the other nodes' pods.
pub(crate) fn ensure_node(addresses: Addresses, number: u8, nodes: u8) -> Result<()> {
    let namespace = addresses.network_namespace(number);
    let cable = addresses.cable(number);
    if !std::path::Path::new("/run/netns").join(&namespace).exists() {
        ip(&["netns", "add", &namespace])?;
    }
    if !exists(&cable) {
        ip(&["link", "add", &cable, "type", "veth", "peer", "name", "eth0", "netns", &namespace])?;
    }
    ip(&["link", "set", &cable, "master", &addresses.bridge(), "up"])?;
    ip(&["-n", &namespace, "addr", "replace", &format!("{}/24", addresses.node(number)), "dev", "eth0"])?;
    ip(&["-n", &namespace, "link", "set", "eth0", "up"])?;
    ip(&["-n", &namespace, "link", "set", "lo", "up"])?;
    ip(&["-n", &namespace, "route", "replace", "default", "via", &addresses.host()])?;
    output("ip", ["netns", "exec", &namespace, "sysctl", "-qw", "net.ipv4.ip_forward=1"])?;
    for other in (1..=nodes).filter(|other| *other != number) {
        ip(&["-n", &namespace, "route", "replace", &addresses.pods_of_node(other), "via", &addresses.node(other)])?;
    }
    // The API server, on the machine itself, reaches webhooks and proxied pods by their own addresses.
    ip(&["route", "replace", &addresses.pods_of_node(number), "via", &addresses.node(number)])?;
    if number == 1 {
        // And whoever is on it reaches Services, as those of Gateways, by a node that knows them.
        ip(&["route", "replace", &addresses.service_network(), "via", &addresses.node(number)])?;
    }
    Ok(())
}

/// Pulls node `number`'s cable, or plugs it in again.
pub(crate) fn set_cable(addresses: Addresses, number: u8, plugged: bool) -> Result<()> {
    ip(&["link", "set", &addresses.cable(number), if plugged { "up" } else { "down" }])
}

/// Removes node `number`'s namespace, and with it everything in it.
pub(crate) fn remove_node(addresses: Addresses, number: u8) {
    attempt("ip", ["link", "del", &addresses.cable(number)]);
    attempt("ip", ["netns", "del", &addresses.network_namespace(number)]);
}

/// Removes the network namespaces of pods whose sandbox is gone: those with an address of ours.
pub(crate) fn remove_pods(addresses: Addresses) {
    let pods = addresses.pod_network().replace("0.0/16", "");
    for entry in fs::read_dir("/run/netns").into_iter().flatten().flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        if !name.starts_with("cni-") {
            continue;
        }
        if output("ip", ["-n", &name, "-4", "-o", "addr"]).is_ok_and(|text| text.contains(&format!(" {pods}"))) {
            attempt("ip", ["netns", "del", &name]);
        }
    }
}

/// Removes the bridge and the way out.
pub(crate) fn remove_bridge(addresses: Addresses) {
    attempt("ip", ["link", "del", &addresses.bridge()]);
    attempt("nft", ["delete", "table", "ip", &addresses.firewall_table()]);
}

fn exists(link: &str) -> bool {
    std::path::Path::new("/sys/class/net").join(link).exists()
}

fn ip(arguments: &[&str]) -> Result<()> {
    output("ip", arguments).map(drop)
}
