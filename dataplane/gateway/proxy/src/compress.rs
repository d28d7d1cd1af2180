//! Compressing an answer's body as it goes by.

use bytes::Bytes;
use eddy_router::{Coding, compress};
use http::{Method, Version};
use pingora_core::Result;
use pingora_core::protocols::http::compression::{Algorithm, Encode};
use pingora_http::{RequestHeader, ResponseHeader};

use crate::entry::RouteEntry;

/// Fast, and most of what can be gained.
const GZIP_LEVEL: u32 = 5;
const BROTLI_LEVEL: u32 = 4;
const ZSTD_LEVEL: u32 = 3;

/// What makes an answer's body smaller.
pub(crate) struct Compressor(Box<dyn Encode + Send + Sync>);

impl RouteEntry {
    /// Makes the head of an answer to a request one whose body is compressed, if its Route wants that, its client takes it, and it is one that
    /// shrinks.
    ///
    /// # Errors
    /// Where the head cannot be written.
    pub(crate) fn compress(&self, request: &RequestHeader, response: &mut ResponseHeader) -> Result<Option<Compressor>> {
        // Before HTTP/1.1, a body ends with the connection or has a length, which is not known any more.
        if !self.filters.compress || request.method == Method::HEAD || request.version < Version::HTTP_11 {
            return Ok(None);
        }
        let mut headers = response.headers.clone();
        let coding = compress(&request.headers, response.status, &mut headers);
        let compressor = coding.and_then(|coding| match coding {
            Coding::Zstd => Algorithm::Zstd.compressor(ZSTD_LEVEL),
            Coding::Brotli => Algorithm::Brotli.compressor(BROTLI_LEVEL),
            Coding::Gzip => Algorithm::Gzip.compressor(GZIP_LEVEL),
        });
        if coding.is_some() && compressor.is_none() {
            return Ok(None);
        }
        // Pingora keeps the case of names beside them.
        let gone: Vec<_> = response.headers.keys().filter(|name| !headers.contains_key(*name)).cloned().collect();
        for name in gone {
            response.remove_header(&name);
        }
        for name in headers.keys() {
            if response.headers.get_all(name).iter().eq(headers.get_all(name).iter()) {
                continue;
            }
            response.remove_header(name);
            for value in headers.get_all(name) {
                response.append_header(name.clone(), value)?;
            }
        }
        Ok(compressor.map(Compressor))
    }
}

impl Compressor {
    /// What becomes of a part of the body; there may be nothing of it yet. At the end comes the rest.
    ///
    /// # Errors
    /// That it cannot be compressed: the answer is not whole then.
    pub(crate) fn take(&mut self, part: Option<&Bytes>, is_end: bool) -> Result<Bytes> {
        self.0.encode(part.map_or(&[][..], |part| part), is_end)
    }
}
