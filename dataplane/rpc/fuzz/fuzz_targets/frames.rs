//! Bytes from whoever connects: never a panic, and what is taken for a frame comes out as it went in.
#![no_main]

use bytes::BytesMut;
use eddy_rpc::{FRAME_BYTES_MAX, FrameCodec};
use tokio_util::codec::{Decoder, Encoder};

libfuzzer_sys::fuzz_target!(|arrived: &[u8]| {
    let mut bytes = BytesMut::from(arrived);
    while let Ok(Some(frame)) = FrameCodec.decode(&mut bytes) {
        assert!(frame.payload.len() <= FRAME_BYTES_MAX);
        let mut again = BytesMut::new();
        FrameCodec.encode(frame.clone(), &mut again).expect("it was decoded");
        assert_eq!(FrameCodec.decode(&mut again).expect("it was encoded"), Some(frame));
    }
});
