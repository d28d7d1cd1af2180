//! Keys of rows.

use bytes::{BufMut, Bytes, BytesMut};
use eddy_chunks::FileId;
use eddy_kv::KeyRange;

fn numbered(tag: u8, number: u64) -> BytesMut {
    let mut key = BytesMut::with_capacity(16);
    key.put_u8(tag);
    key.put_u64(number);
    key
}

fn named(tag: u8, number: u64, name: &[u8]) -> Bytes {
    let mut key = numbered(tag, number);
    key.extend_from_slice(name);
    key.freeze()
}

/// Which cluster this is.
pub fn cluster_key() -> Bytes {
    Bytes::from_static(b"i")
}

/// A namespace, by its name.
pub fn namespace_key(name: &str) -> Bytes {
    [b"n", name.as_bytes()].concat().into()
}

/// All namespaces whose names begin so.
pub fn namespaces(prefix: &str) -> KeyRange {
    KeyRange::prefix(namespace_key(prefix))
}

/// How many bytes a namespace holds.
pub fn usage_bytes_key(namespace: u64) -> Bytes {
    named(b'u', namespace, b"b")
}

/// How many objects a namespace holds.
pub fn usage_objects_key(namespace: u64) -> Bytes {
    named(b'u', namespace, b"o")
}

/// The object under a key.
pub fn object_key(namespace: u64, key: &str) -> Bytes {
    named(b'o', namespace, key.as_bytes())
}

/// All objects whose keys begin so.
pub fn objects(namespace: u64, prefix: &str) -> KeyRange {
    KeyRange::prefix(object_key(namespace, prefix))
}

/// A version of the object under a key that is not the present one. Later versions come first.
pub fn version_key(namespace: u64, key: &str, order: u64) -> Bytes {
    under(b'v', namespace, key, !order)
}

/// All versions but the present one of the object under a key, the latest first.
pub fn versions_of(namespace: u64, key: &str) -> KeyRange {
    KeyRange::prefix([&named(b'v', namespace, key.as_bytes())[..], &[0]].concat())
}

/// All versions but the present ones of all objects whose keys begin so.
pub fn versions(namespace: u64, prefix: &str) -> KeyRange {
    KeyRange::prefix(named(b'v', namespace, prefix.as_bytes()))
}

/// An object that comes in parts.
pub fn multipart_key(namespace: u64, key: &str, upload: u64) -> Bytes {
    under(b'm', namespace, key, upload)
}

/// All objects that come in parts, and whose keys begin so.
pub fn multiparts(namespace: u64, prefix: &str) -> KeyRange {
    KeyRange::prefix(named(b'm', namespace, prefix.as_bytes()))
}

/// A piece of what an upload wrote.
pub fn piece_key(upload: u64, piece: u16) -> Bytes {
    let mut key = numbered(b'q', upload);
    key.put_u16(piece);
    key.freeze()
}

/// All pieces of what an upload wrote.
pub fn pieces(upload: u64) -> KeyRange {
    KeyRange::prefix(numbered(b'q', upload).freeze())
}

/// Something else that the owner of a namespace decided.
pub fn configuration_key(namespace: u64, name: &str) -> Bytes {
    named(b'b', namespace, name.as_bytes())
}

/// The name of the row beside what the owner of a namespace decided that says that something of it may be kept otherwise than its
/// settings say now: in the cold tier, or as another number of copies.
pub const UNSETTLED: &str = "unsettled";

/// The value of that row: since when, in milliseconds since 1970.
pub fn unsettled_since(now_ms: u64) -> Bytes {
    Bytes::copy_from_slice(&now_ms.to_be_bytes())
}

/// All that the owner of a namespace decided besides its settings.
pub fn configurations(namespace: u64) -> KeyRange {
    KeyRange::prefix(numbered(b'b', namespace).freeze())
}

/// A number under an object's key, which holds no zero byte: so they are in the order of keys.
fn under(tag: u8, namespace: u64, key: &str, number: u64) -> Bytes {
    named(tag, namespace, &[key.as_bytes(), &[0], &number.to_be_bytes()].concat())
}

/// The object's key and the number of a row whose key was made so.
pub fn key_and_number(row: &[u8]) -> Option<(&str, u64)> {
    let (key, number) = row.get(9..)?.split_last_chunk::<8>()?;
    Some((std::str::from_utf8(key.strip_suffix(&[0])?).ok()?, u64::from_be_bytes(*number)))
}

/// The least key after this one.
pub fn after(key: &[u8]) -> Bytes {
    [key, b"\0"].concat().into()
}

/// A chunk.
pub fn chunk_key(chunk: u64) -> Bytes {
    numbered(b'c', chunk).freeze()
}

/// Bytes of a chunk that objects need.
pub fn live_key(chunk: u64) -> Bytes {
    numbered(b'l', chunk).freeze()
}

/// Who needs the needle at a place of a chunk.
pub fn reference_key(chunk: u64, offset: u32) -> Bytes {
    let mut key = numbered(b'r', chunk);
    key.put_u32(offset);
    key.freeze()
}

/// Who needs any needle of a chunk.
pub fn references(chunk: u64) -> KeyRange {
    KeyRange::prefix(numbered(b'r', chunk).freeze())
}

/// What servers lack of a chunk.
pub fn degraded_key(chunk: u64) -> Bytes {
    numbered(b'd', chunk).freeze()
}

/// An upload that has not ended.
pub fn pending_key(upload: u64) -> Bytes {
    numbered(b'p', upload).freeze()
}

/// Pieces that nobody needs any more.
pub fn gone_key(upload: u64) -> Bytes {
    numbered(b't', upload).freeze()
}

/// A file that a server has and that no chunk's row names.
pub fn stray_key(server: u64, id: FileId) -> Bytes {
    named(b'g', server, &[id.chunk.to_be_bytes(), id.file.to_be_bytes()].concat())
}

/// That the object under a key was read.
pub fn access_key(namespace: u64, key: &str) -> Bytes {
    named(b'h', namespace, key.as_bytes())
}

/// All objects of a namespace that were read.
pub fn accesses(namespace: u64) -> KeyRange {
    KeyRange::prefix(numbered(b'h', namespace).freeze())
}

/// A chunkserver.
pub fn server_key(server: u64) -> Bytes {
    numbered(b's', server).freeze()
}

/// All chunkservers.
pub fn servers() -> KeyRange {
    KeyRange::prefix(Bytes::from_static(b"s"))
}

/// A chunkserver that is being emptied.
pub fn drain_key(server: u64) -> Bytes {
    numbered(b'x', server).freeze()
}

/// All chunkservers that are.
pub fn drains() -> KeyRange {
    KeyRange::prefix(Bytes::from_static(b"x"))
}

/// A chunkserver that does not answer.
pub fn away_key(server: u64) -> Bytes {
    numbered(b'a', server).freeze()
}

/// All chunkservers that do not.
pub fn aways() -> KeyRange {
    KeyRange::prefix(Bytes::from_static(b"a"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_hold_their_own_and_no_other_s() {
        let within = |range: &KeyRange, key: &Bytes| range.start <= *key && *key < range.end;
        let range = objects(7, "a/");
        assert!(within(&range, &object_key(7, "a/")) && within(&range, &object_key(7, "a/\u{10ffff}")));
        for other in [object_key(7, "a"), object_key(7, "a0"), object_key(8, "a/"), chunk_key(7)] {
            assert!(!within(&range, &other));
        }
        assert!(within(&references(5), &reference_key(5, u32::MAX)) && !within(&references(5), &reference_key(6, 0)));
        assert!(within(&servers(), &server_key(u64::MAX)));
        let (versions, version) = (versions_of(7, "a"), version_key(7, "a", 3));
        assert!(within(&versions, &version) && !within(&versions, &version_key(7, "a\u{1}", 3)));
        assert!(version_key(7, "a", 4) < version && version < version_key(7, "a\u{1}", 9), "later first, in the order of keys");
        assert_eq!(key_and_number(&version), Some(("a", !3)));
        assert!(within(&pieces(5), &piece_key(5, u16::MAX)) && !within(&pieces(5), &piece_key(6, 0)));
        assert!(reference_key(5, 255) < reference_key(5, 256), "in the order of numbers");
    }
}
