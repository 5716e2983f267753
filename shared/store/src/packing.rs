//! Compression of entities.
//!
//! DynamoDB bills a write by the kilobyte of its item, and twice in a transaction. The JSON of an item that is larger than one is
//! compressed where that makes the item cheaper: the deflated text stands in [`PACKED`] then, in place of `data`. Readers of entities do
//! not know which it was.

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use domain::payload::escaped_len;

use crate::attributes::{DATA, PACKED};
use crate::deflate::pack;
use crate::item::{Item, NewItem, text};

/// The size of the entity that counts in a response, in bytes.
pub(crate) const ESCAPED_LEN: &str = "carried";
/// The bytes that a write unit pays for.
const UNIT: usize = 1024;
impl NewItem {
    /// Compresses the entity, if the item takes fewer write units then.
    pub(crate) fn packed(self) -> Self {
        self.packed_beside(0)
    }

    /// Like [`Self::packed`], for an item that has so many bytes more in attributes which are not written now.
    pub(crate) fn packed_beside(mut self, others: usize) -> Self {
        let size = size_of(&self.item) + others;
        let Some(json) = text(&self.item, DATA).filter(|_| size > UNIT) else {
            return self;
        };
        let Some(packed) = pack(json.as_bytes()) else {
            return self;
        };
        let length = escaped_len(json).to_string();
        let names = PACKED.len() + ESCAPED_LEN.len() + length.len();
        let smaller = size - "data".len() - json.len() + packed.len() + names;
        if smaller.div_ceil(UNIT) < size.div_ceil(UNIT) {
            self.item.remove(DATA);
            let packed = AttributeValue::B(Blob::new(packed));
            self.item.insert(PACKED.to_owned(), packed);
            let length = AttributeValue::N(length);
            self.item.insert(ESCAPED_LEN.to_owned(), length);
        }
        self
    }
}

/// The size that DynamoDB bills, a few bytes aside: numbers are a little smaller there.
fn size_of(item: &Item) -> usize {
    let attributes = item.iter().map(|(name, value)| {
        name.len()
            + match value {
                AttributeValue::S(text) | AttributeValue::N(text) => text.len(),
                AttributeValue::B(bytes) => bytes.as_ref().len(),
                _ => 0,
            }
    });
    attributes.sum()
}
