//! Compression of texts, by one compressor for each thread.

use std::cell::RefCell;

use domain::{Error, Result};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// The largest text that is unpacked, in bytes. An item holds 100 KB of JSON at most.
const MAX_UNPACKED: usize = 1024 * 1024;

thread_local! {
    // Their windows take hundreds of kilobytes, which would be allocated and cleared for each item.
    static COMPRESS: RefCell<Compress> = RefCell::new(Compress::new(Compression::default(), false));
    static DECOMPRESS: RefCell<Decompress> = RefCell::new(Decompress::new(false));
}

/// The JSON that was packed.
pub(crate) fn unpack(packed: &[u8]) -> Result<Vec<u8>> {
    let damaged = || Error::internal("a packed entity is damaged");
    DECOMPRESS.with_borrow_mut(|inflate| {
        inflate.reset(false);
        let mut json = Vec::with_capacity(packed.len() * 4);
        loop {
            if json.len() == json.capacity() {
                json.reserve(json.len());
            }
            let before = (inflate.total_in(), inflate.total_out());
            let read = usize::try_from(before.0).map_err(Error::internal)?;
            let status = inflate
                .decompress_vec(&packed[read..], &mut json, FlushDecompress::None)
                .map_err(Error::internal)?;
            let has_moved = (inflate.total_in(), inflate.total_out()) != before;
            match status {
                Status::StreamEnd => return Ok(json),
                _ if has_moved && json.len() <= MAX_UNPACKED => {}
                _ => return Err(damaged()),
            }
        }
    })
}

/// `None` when it does not get smaller.
pub(crate) fn pack(json: &[u8]) -> Option<Vec<u8>> {
    COMPRESS.with_borrow_mut(|deflate| {
        deflate.reset();
        let mut packed = Vec::with_capacity(json.len());
        let status = deflate.compress_vec(json, &mut packed, FlushCompress::Finish);
        matches!(status, Ok(Status::StreamEnd)).then_some(packed)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_packed_is_unpacked_and_what_is_damaged_is_refused() {
        for length in [100, 1_000, 100_000] {
            let json = "\"a text that repeats itself\"".repeat(length / 10 + 1);
            let packed = pack(json.as_bytes()).unwrap();
            assert_eq!(unpack(&packed).unwrap(), json.as_bytes());
            let cut = &packed[..packed.len() - 1];
            assert!(unpack(cut).is_err());
        }
        let bomb = pack(&vec![b'x'; 10 * MAX_UNPACKED]).unwrap();
        assert!(unpack(&bomb).is_err());
    }
}
