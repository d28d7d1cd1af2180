//! The cluster's own certificate authorities, and a certificate for each part.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};

use crate::addresses::Addresses;

/// The certificate of whoever says whom a token stands for.
pub(crate) const TOKEN_REVIEW: &str = "token-review";

/// The certificate files of a cluster.
pub(crate) struct Certificates {
    folder: PathBuf,
}

impl Certificates {
    /// Those that were made before.
    pub(crate) fn of(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    pub(crate) fn certificate(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.crt"))
    }
    pub(crate) fn key(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.key"))
    }

    /// Makes every certificate that a cluster of this size needs, if it is not there yet.
    pub(crate) fn ensure(folder: &Path, addresses: Addresses, control_planes: u8, nodes: u8) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("failed to make {}", folder.display()))?;
        let certificates = Self::of(folder);
        let cluster = certificates.authority("ca", "kubernetes-ca")?;
        let etcd = certificates.authority("etcd-ca", "etcd-ca")?;
        if !certificates.key("service-accounts").exists() {
            let key = KeyPair::generate()?;
            certificates.write("service-accounts.key", &key.serialize_pem())?;
            certificates.write("service-accounts.pub", &key.public_key_pem())?;
        }

        // A member checks that a peer's certificate names the address that the peer came from, and on one machine
        // that may be any of theirs.
        let members = (1..=control_planes).map(|number| addresses.control_plane(number));
        let members: Vec<String> = members.chain(["127.0.0.1".into()]).collect();
        for number in 1..=control_planes {
            let names = [
                "localhost",
                "kubernetes",
                "kubernetes.default",
                "kubernetes.default.svc",
                "kubernetes.default.svc.cluster.local",
            ];
            let at = [addresses.control_plane(number), addresses.api(), addresses.kubernetes_service(), "127.0.0.1".into()];
            certificates.issue(&cluster, &format!("apiserver-{number}"), "kube-apiserver", None, &names, &at)?;
            certificates.issue(&etcd, &format!("etcd-{number}"), "etcd", None, &["localhost"], &members)?;
        }
        certificates.issue(&etcd, "etcd-client", "kube-apiserver", None, &[], &[])?;
        let masters = Some("system:masters");
        certificates.issue(&cluster, "admin", "admin", masters, &[], &[])?;
        certificates.issue(&cluster, "kubelet-client", "kube-apiserver-kubelet-client", masters, &[], &[])?;
        certificates.issue(&cluster, "controller-manager", "system:kube-controller-manager", None, &[], &[])?;
        certificates.issue(&cluster, "scheduler", "system:kube-scheduler", None, &[], &[])?;
        // At a node's port, which the API server asks whom a token stands for.
        certificates.issue(&cluster, TOKEN_REVIEW, TOKEN_REVIEW, None, &[], &[addresses.node(1)])?;
        certificates.issue(&cluster, "proxy", "system:kube-proxy", None, &[], &[])?;
        for number in 1..=nodes {
            let user = format!("system:node:node{number}");
            let name = format!("node{number}");
            certificates.issue(&cluster, &name, &user, Some("system:nodes"), &[&name], &[addresses.node(number)])?;
        }
        Ok(certificates)
    }

    fn authority(&self, name: &str, common_name: &str) -> Result<Issuer<'static, KeyPair>> {
        if !self.certificate(name).exists() {
            let key = KeyPair::generate()?;
            let mut parameters = CertificateParams::default();
            parameters.distinguished_name = distinguished_name(common_name, None);
            parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            parameters.key_usages =
                vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
            let certificate = parameters.self_signed(&key)?;
            self.write(&format!("{name}.key"), &key.serialize_pem())?;
            self.write(&format!("{name}.crt"), &certificate.pem())?;
        }
        // The issuer's name is rebuilt from what it was made with: reading it back would need an X.509 parser.
        let key = KeyPair::from_pem(&fs::read_to_string(self.key(name))?)?;
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = distinguished_name(common_name, None);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Ok(Issuer::new(parameters, key))
    }

    fn issue(
        &self,
        issuer: &Issuer<'_, KeyPair>,
        name: &str,
        common_name: &str,
        organisation: Option<&str>,
        names: &[&str],
        addresses: &[String],
    ) -> Result<()> {
        if self.certificate(name).exists() {
            return Ok(());
        }
        let key = KeyPair::generate()?;
        let mut parameters = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())?;
        for address in addresses {
            parameters.subject_alt_names.push(SanType::IpAddress(address.parse::<IpAddr>()?));
        }
        parameters.distinguished_name = distinguished_name(common_name, organisation);
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = parameters.signed_by(&key, issuer)?;
        self.write(&format!("{name}.key"), &key.serialize_pem())?;
        self.write(&format!("{name}.crt"), &certificate.pem())
    }

    /// Writes a file that only root may read.
    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.folder.join(name);
        let mut file = fs::File::options()
            .create(true)
            .write(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)
            .with_context(|| format!("failed to write {}", path.display()))?;
        std::io::Write::write_all(&mut file, text.as_bytes())?;
        Ok(())
    }
}

fn distinguished_name(common_name: &str, organisation: Option<&str>) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    if let Some(organisation) = organisation {
        name.push(DnType::OrganizationName, organisation);
    }
    name.push(DnType::CommonName, common_name);
    name
}
