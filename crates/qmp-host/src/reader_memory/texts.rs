//! Large texts that several readers want at a time: each is made once, and in memory once.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Weak};

use super::ChargedText;

/// A text that its readers share.
#[derive(Clone, Debug)]
pub struct SharedText(Arc<ChargedText<Vec<u8>>>);

impl AsRef<[u8]> for SharedText {
    fn as_ref(&self) -> &[u8] {
        (*self.0).as_ref()
    }
}

/// Texts by what they are of, as long as a reader has them. They are made one at a time.
#[derive(Debug)]
pub struct Texts<K>(tokio::sync::Mutex<HashMap<K, Weak<ChargedText<Vec<u8>>>>>);

impl<K> Default for Texts<K> {
    fn default() -> Self {
        Self(tokio::sync::Mutex::default())
    }
}

impl<K: Eq + Hash> Texts<K> {
    /// The text of `key`: that which another reader has, or the one that `make` makes. `make` may conclude that there is
    /// none.
    ///
    /// # Errors
    ///
    /// Those of `make`.
    pub async fn get<E>(
        &self,
        key: K,
        make: impl AsyncFnOnce() -> Result<Option<ChargedText<Vec<u8>>>, E>,
    ) -> Result<Option<SharedText>, E> {
        let mut texts = self.0.lock().await;
        if let Some(text) = texts.get(&key).and_then(Weak::upgrade) {
            return Ok(Some(SharedText(text)));
        }
        texts.retain(|_, text| text.strong_count() > 0);
        let Some(text) = make().await?.map(Arc::new) else { return Ok(None) };
        texts.insert(key, Arc::downgrade(&text));
        Ok(Some(SharedText(text)))
    }
}
