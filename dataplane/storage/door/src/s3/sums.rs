//! Digests and checksums of what comes, and of what came in parts.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use crc_fast::{CrcAlgorithm, checksum_combine};
use eddy_object::schema::{Checksum, ChecksumAlgorithm, ETag, PieceRow};
use http::HeaderMap;
use s3s::S3ErrorCode;
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Crc32, Crc32c, Crc64Nvme, Md5, Sha1, Sha256};
use s3s::dto;

use super::error::Failure;

/// All algorithms, and what they are called in requests.
const ALGORITHMS: [(ChecksumAlgorithm, &str); 5] = [
    (ChecksumAlgorithm::Crc32, "CRC32"),
    (ChecksumAlgorithm::Crc32c, "CRC32C"),
    (ChecksumAlgorithm::Crc64Nvme, "CRC64NVME"),
    (ChecksumAlgorithm::Sha1, "SHA1"),
    (ChecksumAlgorithm::Sha256, "SHA256"),
];

/// What an algorithm is called.
pub(super) fn name_of(algorithm: ChecksumAlgorithm) -> &'static str {
    ALGORITHMS.iter().find(|(known, _)| *known == algorithm).map_or("", |(_, name)| name)
}

pub(super) fn algorithm_name(algorithm: ChecksumAlgorithm) -> dto::ChecksumAlgorithm {
    dto::ChecksumAlgorithm::from_static(name_of(algorithm))
}

/// Whether a checksum is one of checksums.
pub(super) fn type_of(checksum: &Checksum) -> dto::ChecksumType {
    let kind = if checksum.composite { dto::ChecksumType::COMPOSITE } else { dto::ChecksumType::FULL_OBJECT };
    dto::ChecksumType::from_static(kind)
}

/// The tag of a part.
pub(super) fn part_tag(digest: &[u8]) -> dto::ETag {
    dto::ETag::Strong(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The digest that a part's tag is.
pub(super) fn digest_of(tag: &str) -> Option<Vec<u8>> {
    let tag = tag.trim_matches('"');
    let byte = |at: usize| u8::from_str_radix(tag.get(at..at + 2)?, 16).ok();
    tag.len().is_multiple_of(2).then(|| (0..tag.len()).step_by(2).map(byte).collect()).flatten()
}

/// Which algorithm is called so.
pub(super) fn algorithm_of(name: &str) -> Result<ChecksumAlgorithm, Failure> {
    let found = ALGORITHMS.iter().find(|(_, known)| known.eq_ignore_ascii_case(name)).map(|(algorithm, _)| *algorithm);
    found.ok_or_else(|| Failure::new(S3ErrorCode::InvalidRequest, "a checksum is CRC32, CRC32C, CRC64NVME, SHA1 or SHA256"))
}

/// The checksum that headers or trailers have.
pub(super) fn of_headers(headers: &HeaderMap) -> Result<Option<(ChecksumAlgorithm, Vec<u8>)>, Failure> {
    announced(headers, |value| value)
}

/// The checksum that headers have of an object that came in parts: it may say of how many.
pub(super) fn of_whole(headers: &HeaderMap) -> Result<Option<(ChecksumAlgorithm, Vec<u8>)>, Failure> {
    announced(headers, |value| value.split(|byte| *byte == b'-').next().unwrap_or_default())
}

fn announced(headers: &HeaderMap, part: impl Fn(&[u8]) -> &[u8]) -> Result<Option<(ChecksumAlgorithm, Vec<u8>)>, Failure> {
    let mut found = None;
    for (algorithm, name) in ALGORITHMS {
        let Some(value) = headers.get(format!("x-amz-checksum-{}", name.to_ascii_lowercase())) else { continue };
        let value = STANDARD.decode(part(value.as_bytes())).ok().filter(|value| value.len() == length_of(algorithm));
        let value = value
            .ok_or_else(|| Failure::new(S3ErrorCode::BadDigest, format!("the value of x-amz-checksum-{name} is no such sum")))?;
        if found.replace((algorithm, value)).is_some() {
            return Err(Failure::new(S3ErrorCode::InvalidRequest, "one checksum, and not several, is checked"));
        }
    }
    Ok(found)
}

fn length_of(algorithm: ChecksumAlgorithm) -> usize {
    match algorithm {
        ChecksumAlgorithm::Crc32 | ChecksumAlgorithm::Crc32c => 4,
        ChecksumAlgorithm::Crc64Nvme => 8,
        ChecksumAlgorithm::Sha1 => 20,
        ChecksumAlgorithm::Sha256 => 32,
    }
}

/// What is computed while a body comes.
pub(super) struct Sums {
    md5: Md5,
    announced_md5: Option<Vec<u8>>,
    announced: Option<(ChecksumAlgorithm, Vec<u8>)>,
    algorithm: Option<ChecksumAlgorithm>,
    /// That of the checksum that is to follow the body.
    awaited: Option<ChecksumAlgorithm>,
    hasher: ChecksumHasher,
}

impl Sums {
    /// Those that a request announces, or that a trailer will bring, or else of this algorithm, if any.
    pub(super) fn announced(headers: &HeaderMap, or_else: Option<ChecksumAlgorithm>) -> Result<Self, Failure> {
        let announced = of_headers(headers)?;
        let trailer = headers.get("x-amz-trailer").and_then(|names| names.to_str().ok());
        let trailer = trailer.and_then(|names| {
            let name = names.split(',').find_map(|name| name.trim().strip_prefix("x-amz-checksum-"))?;
            Some(algorithm_of(name))
        });
        let awaited = trailer.transpose()?;
        let algorithm = announced.as_ref().map(|(algorithm, _)| *algorithm);
        let algorithm = algorithm.or(awaited).or(or_else);
        let announced_md5 =
            headers.get("content-md5").map(|value| STANDARD.decode(value.as_bytes()).ok().filter(|md5| md5.len() == 16));
        let announced_md5 = announced_md5
            .map(|md5| md5.ok_or_else(|| Failure::new(S3ErrorCode::InvalidDigest, "Content-MD5 is 16 bytes in base64")))
            .transpose()?;
        let hasher = algorithm.map(hasher).unwrap_or_default();
        Ok(Self { md5: Md5::new(), announced_md5, announced, awaited, algorithm, hasher })
    }

    /// What is computed besides the MD5.
    pub(super) fn algorithm(&self) -> Option<ChecksumAlgorithm> {
        self.algorithm
    }

    /// Some of the body came.
    pub(super) fn update(&mut self, data: &[u8]) {
        self.md5.update(data);
        self.hasher.update(data);
    }

    /// What the whole body is known by.
    ///
    /// # Errors
    /// That it is not what was announced, in headers or after it.
    pub(super) fn finish(self, trailers: Option<&HeaderMap>) -> Result<(ETag, Option<Checksum>), Failure> {
        let digest = self.md5.finalize().to_vec();
        if self.announced_md5.is_some_and(|announced| announced != digest) {
            return Err(Failure::new(S3ErrorCode::BadDigest, "the body does not have the MD5 that was announced"));
        }
        let checksum = self.algorithm.and_then(|algorithm| {
            let value = value_of(algorithm, self.hasher.finalize())?;
            Some(Checksum { algorithm, value, composite: false })
        });
        let trailing = trailers.map(of_headers).transpose()?.flatten();
        if self.awaited.is_some() && self.awaited != trailing.as_ref().map(|(algorithm, _)| *algorithm) {
            let message = "the checksum that was to follow the body has not come";
            return Err(Failure::with_status("MalformedTrailerError", http::StatusCode::BAD_REQUEST, message));
        }
        for (algorithm, value) in self.announced.into_iter().chain(trailing) {
            if !checksum.as_ref().is_some_and(|checksum| checksum.algorithm == algorithm && checksum.value == value) {
                let message = format!("the body does not have the {} that was announced", name_of(algorithm));
                return Err(Failure::new(S3ErrorCode::BadDigest, message));
            }
        }
        Ok((ETag { digest, parts: 0 }, checksum))
    }
}

fn hasher(algorithm: ChecksumAlgorithm) -> ChecksumHasher {
    let mut hasher = ChecksumHasher::default();
    match algorithm {
        ChecksumAlgorithm::Crc32 => hasher.crc32 = Some(Crc32::new()),
        ChecksumAlgorithm::Crc32c => hasher.crc32c = Some(Crc32c::new()),
        ChecksumAlgorithm::Crc64Nvme => hasher.crc64nvme = Some(Crc64Nvme::new()),
        ChecksumAlgorithm::Sha1 => hasher.sha1 = Some(Sha1::new()),
        ChecksumAlgorithm::Sha256 => hasher.sha256 = Some(Sha256::new()),
    }
    hasher
}

fn value_of(algorithm: ChecksumAlgorithm, sums: dto::Checksum) -> Option<Vec<u8>> {
    let text = match algorithm {
        ChecksumAlgorithm::Crc32 => sums.checksum_crc32,
        ChecksumAlgorithm::Crc32c => sums.checksum_crc32c,
        ChecksumAlgorithm::Crc64Nvme => sums.checksum_crc64nvme,
        ChecksumAlgorithm::Sha1 => sums.checksum_sha1,
        ChecksumAlgorithm::Sha256 => sums.checksum_sha256,
    };
    STANDARD.decode(text?).ok()
}

/// An answer, with a checksum as all have it.
macro_rules! summed {
    ($checksum:ident, $type:ident { $($rest:tt)* }) => {
        $type {
            checksum_crc32: $checksum.checksum_crc32,
            checksum_crc32c: $checksum.checksum_crc32c,
            checksum_crc64nvme: $checksum.checksum_crc64nvme,
            checksum_sha1: $checksum.checksum_sha1,
            checksum_sha256: $checksum.checksum_sha256,
            $($rest)*
        }
    };
}
pub(super) use summed;

/// A checksum as answers have it. That of parts says of how many.
pub(super) fn answered(checksum: Option<&Checksum>, parts: u16) -> dto::Checksum {
    let Some(checksum) = checksum.filter(|checksum| !checksum.value.is_empty()) else { return dto::Checksum::default() };
    let mut text = STANDARD.encode(&checksum.value);
    if checksum.composite {
        text.push_str(&format!("-{parts}"));
    }
    let mut answer = dto::Checksum { checksum_type: Some(type_of(checksum)), ..dto::Checksum::default() };
    let place = match checksum.algorithm {
        ChecksumAlgorithm::Crc32 => &mut answer.checksum_crc32,
        ChecksumAlgorithm::Crc32c => &mut answer.checksum_crc32c,
        ChecksumAlgorithm::Crc64Nvme => &mut answer.checksum_crc64nvme,
        ChecksumAlgorithm::Sha1 => &mut answer.checksum_sha1,
        ChecksumAlgorithm::Sha256 => &mut answer.checksum_sha256,
    };
    *place = Some(text);
    answer
}

/// What an object of these parts is known by: the MD5 of their MD5s, as S3 has it.
pub(super) fn etag_of(parts: &[PieceRow]) -> ETag {
    let mut md5 = Md5::new();
    for part in parts {
        md5.update(part.part.as_ref().map_or(&[][..], |part| &part.digest));
    }
    ETag { digest: md5.finalize().to_vec(), parts: u16::try_from(parts.len()).unwrap_or(u16::MAX) }
}

/// The checksum of an object of these parts: that of their checksums, or that of all bytes.
///
/// # Errors
/// That a part has no such checksum.
pub(super) fn checksum_of(wanted: &Checksum, parts: &[PieceRow]) -> Result<Checksum, Failure> {
    let of_parts = parts.iter().enumerate().map(|(at, piece)| {
        let checksum = piece.part.as_ref().and_then(|part| part.checksum.as_ref());
        let checksum = checksum.filter(|checksum| checksum.algorithm == wanted.algorithm);
        let missing =
            || Failure::new(S3ErrorCode::InvalidPart, format!("part {} came without a {}", at + 1, name_of(wanted.algorithm)));
        checksum.map(|checksum| (checksum.value.as_slice(), piece.bytes)).ok_or_else(missing)
    });
    let of_parts: Vec<_> = of_parts.collect::<Result<_, _>>()?;
    let value = if wanted.composite {
        let mut hasher = hasher(wanted.algorithm);
        of_parts.iter().for_each(|(value, _)| hasher.update(value));
        value_of(wanted.algorithm, hasher.finalize()).unwrap_or_default()
    } else {
        combined(wanted.algorithm, &of_parts)?
    };
    Ok(Checksum { value, ..wanted.clone() })
}

/// The sum of all bytes, by those of parts and their lengths.
fn combined(algorithm: ChecksumAlgorithm, parts: &[(&[u8], u64)]) -> Result<Vec<u8>, Failure> {
    let crc = match algorithm {
        ChecksumAlgorithm::Crc32 => CrcAlgorithm::Crc32IsoHdlc,
        ChecksumAlgorithm::Crc32c => CrcAlgorithm::Crc32Iscsi,
        ChecksumAlgorithm::Crc64Nvme => CrcAlgorithm::Crc64Nvme,
        ChecksumAlgorithm::Sha1 | ChecksumAlgorithm::Sha256 => {
            let message = "SHA1 and SHA256 of a whole object cannot be told from those of its parts: ask for COMPOSITE";
            return Err(Failure::new(S3ErrorCode::InvalidRequest, message));
        }
    };
    let number = |value: &[u8]| value.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    let mut parts = parts.iter();
    let first = parts.next().map_or(0, |(value, _)| number(value));
    let all = parts.fold(first, |all, (value, bytes)| checksum_combine(crc, all, number(value), *bytes));
    Ok(all.to_be_bytes()[8 - length_of(algorithm)..].to_vec())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use eddy_object::schema::{Contents, Part};

    use super::*;

    fn part(algorithm: ChecksumAlgorithm, data: &[u8]) -> PieceRow {
        let headers = HeaderMap::new();
        let mut sums = Sums::announced(&headers, Some(algorithm)).unwrap();
        sums.update(data);
        let (etag, checksum) = sums.finish(None).unwrap();
        let part = Part { digest: etag.digest, checksum, modified_ms: 0 };
        PieceRow { upload: 1, bytes: data.len() as u64, contents: Contents::Needles(Vec::new()), part: Some(part) }
    }

    #[test]
    fn sums_of_parts_make_that_of_the_whole() {
        let (first, second, third) = (vec![1; 1000], vec![2; 12345], vec![3; 7]);
        let whole = [first.clone(), second.clone(), third.clone()].concat();
        for algorithm in [ChecksumAlgorithm::Crc32, ChecksumAlgorithm::Crc32c, ChecksumAlgorithm::Crc64Nvme] {
            let parts: Vec<_> = [&first, &second, &third].iter().map(|data| part(algorithm, data)).collect();
            let wanted = Checksum { algorithm, value: Vec::new(), composite: false };
            let expected = part(algorithm, &whole).part.unwrap().checksum.unwrap();
            assert_eq!(checksum_of(&wanted, &parts).unwrap(), expected, "{algorithm:?}");
            let composite = checksum_of(&Checksum { composite: true, ..wanted }, &parts).unwrap();
            assert_ne!(composite.value, expected.value);
            assert_eq!(composite.value.len(), expected.value.len());
        }
        let wanted = Checksum { algorithm: ChecksumAlgorithm::Sha256, value: Vec::new(), composite: false };
        assert!(checksum_of(&wanted, &[part(ChecksumAlgorithm::Sha256, &first)]).is_err());
        assert!(checksum_of(&wanted, &[part(ChecksumAlgorithm::Crc32, &first)]).is_err());
    }

    #[test]
    fn what_was_announced_must_come() {
        let announce = |name: &'static str, value: &str| {
            [(http::HeaderName::from_static(name), value.parse().unwrap())].into_iter().collect::<HeaderMap>()
        };
        let finish = |headers: &HeaderMap, trailers: Option<&HeaderMap>| {
            let mut sums = Sums::announced(headers, None)?;
            sums.update(b"hello");
            sums.finish(trailers)
        };
        // CRC32 of "hello" is 3610a686.
        let right = announce("x-amz-checksum-crc32", "NhCmhg==");
        assert_eq!(finish(&right, None).unwrap().1.unwrap().value, [0x36, 0x10, 0xa6, 0x86]);
        for wrong in ["NhCmhw==", "!", "", "NhCm"] {
            assert!(finish(&announce("x-amz-checksum-crc32", wrong), None).is_err(), "{wrong}");
        }
        let trailer = announce("x-amz-trailer", "x-amz-checksum-crc32");
        assert!(finish(&trailer, Some(&right)).unwrap().1.is_some());
        assert!(finish(&trailer, Some(&announce("x-amz-checksum-crc32", "NhCmhw=="))).is_err());
        assert!(finish(&trailer, None).is_err() && finish(&trailer, Some(&HeaderMap::new())).is_err(), "it has not come");
        // What was not announced cannot be checked any more.
        assert!(finish(&HeaderMap::new(), Some(&right)).is_err());
        assert!(finish(&announce("content-md5", "XUFAKrxLKna5cZ2REBfFkg=="), None).is_ok());
        for wrong in ["XUFAKrxLKna5cZ2REBfFkw==", "XUFA"] {
            assert!(finish(&announce("content-md5", wrong), None).is_err(), "{wrong}");
        }
    }
}
