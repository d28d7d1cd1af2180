//! Short needles that were read not long ago: what a needle holds never changes, so it is as good as when it was read.

use bytes::Bytes;
use eddy_chunks::Extent;
use quick_cache::Weighter;
use quick_cache::sync::Cache as Bounded;

/// Longer needles are not kept: they are streamed.
const NEEDLE_BYTES_MAX: u32 = 256 * 1024;
/// What keeping a needle costs, besides its bytes.
const OVERHEAD_BYTES: u64 = 128;
/// To reckon with: more may be kept, if they are shorter.
const USUAL_BYTES: u64 = 8 * 1024;

/// Needles within so many bytes of memory.
pub(crate) struct Cache(Option<Bounded<Extent, Bytes, Weight>>);

#[derive(Clone)]
struct Weight;

impl Weighter<Extent, Bytes> for Weight {
    fn weight(&self, _extent: &Extent, data: &Bytes) -> u64 {
        data.len() as u64 + OVERHEAD_BYTES
    }
}

impl Cache {
    pub(crate) fn new(bytes: u64) -> Self {
        let needles = usize::try_from(bytes / USUAL_BYTES).unwrap_or(usize::MAX);
        Self((bytes > 0).then(|| Bounded::with_weighter(needles.max(1), bytes, Weight)))
    }

    /// A needle's bytes, if they are known.
    pub(crate) fn get(&self, extent: &Extent) -> Option<Bytes> {
        self.0.as_ref()?.get(extent)
    }

    /// Whether a needle may be kept.
    pub(crate) fn takes(&self, extent: &Extent) -> bool {
        self.0.is_some() && extent.bytes <= NEEDLE_BYTES_MAX
    }

    pub(crate) fn put(&self, extent: Extent, data: &[u8]) {
        if let Some(cache) = self.0.as_ref().filter(|_| data.len() == extent.bytes as usize) {
            // A copy: what it was read into is longer, and would be held with it.
            cache.insert(extent, Bytes::copy_from_slice(data));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_what_it_may_and_no_more() {
        let extent = |needle, bytes| Extent { chunk: 1, offset: 64, needle, bytes };
        let cache = Cache::new(1_000_000);
        cache.put(extent(1, 3), b"abc");
        assert_eq!(cache.get(&extent(1, 3)).as_deref(), Some(&b"abc"[..]));
        assert_eq!(cache.get(&extent(2, 3)), None);
        cache.put(extent(3, 4), b"abc");
        assert_eq!(cache.get(&extent(3, 4)), None, "not all of it");
        for needle in 10..1000 {
            cache.put(extent(needle, 10_000), &[7; 10_000]);
        }
        let kept = (10..1000).filter(|needle| cache.get(&extent(*needle, 10_000)).is_some()).count();
        assert!((1..=100).contains(&kept), "{kept}");
        assert!(
            cache.takes(&extent(1, 1)) && !cache.takes(&extent(1, NEEDLE_BYTES_MAX + 1)) && !Cache::new(0).takes(&extent(1, 1))
        );
    }
}
