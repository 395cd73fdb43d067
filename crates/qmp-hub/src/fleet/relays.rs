//! Relays of a VM that come and go while it is followed. Its connection and its epoch go on.

use std::sync::Arc;

use super::{Fleet, FleetError};
use crate::relay::{FILES_OF_A_RELAY, Listening, Parted, RelayConfig};
use crate::vm::Vm;

impl Fleet {
    /// Serves a VM at these relays, and no others. Relays that it has already are left as they are, with their clients.
    ///
    /// # Errors
    ///
    /// `Unknown`, `NameInUse`, `Stopping`; the VM's relays are as they were then.
    pub async fn set_relays(&self, name: &str, wanted: Vec<RelayConfig>) -> Result<(), FleetError> {
        let (vm, has) = {
            let mut places = self.places();
            let followed = places.followed(name)?;
            let has: Vec<_> = followed.relays.iter().flat_map(|relays| relays.configs()).cloned().collect();
            (Arc::clone(&followed.vm), has)
        };
        let is_free = |relay: &RelayConfig| !has.iter().any(|other| other.path == relay.path);
        let more = wanted.iter().filter(|relay| !has.contains(relay)).cloned();
        let (free, changed): (Vec<_>, Vec<_>) = more.partition(is_free);
        let mut listening = Listening::at(free).await;
        self.part_relays(&vm, &wanted).await?;
        listening.append(Listening::at(changed).await);

        let mut places = self.places();
        let followed = places.followed(name)?;
        // Another one may have come by that name in the meantime.
        if !Arc::ptr_eq(&followed.vm, &vm) {
            return Err(FleetError::Unknown { name: name.into() });
        }
        let files = listening.len() * FILES_OF_A_RELAY;
        self.0.relays.open(vm.relayed(), &mut followed.relays, listening);
        places.add_files(self, files);
        Ok(())
    }

    /// Ends the relays that are not wanted, and the line of a VM of which none is.
    async fn part_relays(&self, vm: &Arc<Vm>, wanted: &[RelayConfig]) -> Result<(), FleetError> {
        let (parted, last): (Option<Parted>, _) = {
            let mut places = self.places();
            let followed = places.followed(vm.name.as_str())?;
            let before = followed.files();
            let last = if wanted.is_empty() { followed.relays.take() } else { None };
            if last.is_some() {
                // Between two appends, so that the line has heard of all that it is to hand out.
                vm.tap.lock().line = None;
            }
            let parted = followed.relays.as_mut().map(|relays| relays.part(|relay| wanted.contains(relay)));
            let after = followed.files();
            places.files -= before - after;
            (parted, last)
        };
        if let Some(parted) = parted {
            parted.ended().await;
        }
        if let Some(relays) = last {
            self.0.relays.close(relays).await;
        }
        Ok(())
    }
}
