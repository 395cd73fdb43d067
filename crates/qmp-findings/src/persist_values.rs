//! How the values in the state of correlators are saved.

use std::collections::VecDeque;
use std::time::Duration;

use qmp_events::{EventKind, Release, SequelDesc, catalogue};
use qmp_wire::{Epoch, Seq, UnixMicros};
use serde_json::{Map, Value};

use crate::persist::{Persist, persist};
use crate::state::{Detachment, Explanation, LastEvent, Silence};

persist!(Epoch { 0 });
persist!(Seq { 0 });
persist!(UnixMicros { 0 });
persist!(Explanation { cause, by, summary, causes, details, run_state, clause });
persist!(Detachment { reason, detail, at, certain_until });
persist!(LastEvent { event, epoch, seq, received });
persist!(Silence { record, since });

macro_rules! persist_numbers {
    ($($type:ident $read:ident),+) => {
        $(impl Persist for $type {
            fn layout(into: &mut String) {
                into.push_str(concat!(stringify!($type), " "));
            }

            fn save(&self) -> Value {
                (*self).into()
            }

            fn load(value: Value) -> Option<Self> {
                value.$read()?.try_into().ok()
            }
        })+
    };
}

persist_numbers!(bool as_bool, u32 as_u64, u64 as_u64, usize as_u64, i64 as_i64);

impl Persist for Box<str> {
    fn layout(into: &mut String) {
        into.push_str("text ");
    }

    fn save(&self) -> Value {
        Value::from(&**self)
    }

    fn load(value: Value) -> Option<Self> {
        String::load(value).map(String::into_boxed_str)
    }
}

impl Persist for String {
    fn layout(into: &mut String) {
        into.push_str("text ");
    }

    fn save(&self) -> Value {
        Value::from(&**self)
    }

    fn load(value: Value) -> Option<Self> {
        match value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }
}

impl Persist for Duration {
    fn layout(into: &mut String) {
        into.push_str("nanoseconds ");
    }

    fn save(&self) -> Value {
        // Spans of the correlators are minutes at most.
        u64::try_from(self.as_nanos()).unwrap_or(u64::MAX).into()
    }

    fn load(value: Value) -> Option<Self> {
        value.as_u64().map(Self::from_nanos)
    }
}

impl Persist for Value {
    fn layout(into: &mut String) {
        into.push_str("JSON ");
    }

    fn save(&self) -> Value {
        self.clone()
    }

    fn load(value: Value) -> Option<Self> {
        Some(value)
    }
}

impl Persist for Map<String, Value> {
    fn layout(into: &mut String) {
        into.push_str("object ");
    }

    fn save(&self) -> Value {
        self.clone().into()
    }

    fn load(value: Value) -> Option<Self> {
        match value {
            Value::Object(members) => Some(members),
            _ => None,
        }
    }
}

impl Persist for EventKind {
    fn layout(into: &mut String) {
        into.push_str("event ");
    }

    fn save(&self) -> Value {
        self.name().into()
    }

    fn load(value: Value) -> Option<Self> {
        Self::from_name(value.as_str()?)
    }
}

impl Persist for Release {
    fn layout(into: &mut String) {
        into.push_str("release ");
    }

    fn save(&self) -> Value {
        self.to_string().into()
    }

    fn load(value: Value) -> Option<Self> {
        value.as_str()?.parse().ok()
    }
}

/// A sequel of the catalogue: the event that announces it, and its index among the sequels of the event.
impl Persist for &'static SequelDesc {
    fn layout(into: &mut String) {
        for desc in catalogue() {
            into.push_str(&format!("{} {} ", desc.name, desc.sequels.len()));
        }
    }

    fn save(&self) -> Value {
        let position = catalogue().iter().find_map(|desc| {
            let index = desc.sequels.iter().position(|sequel| std::ptr::eq(sequel, *self))?;
            Some(vec![desc.kind.save(), index.save()])
        });
        Value::from(position.unwrap_or_default())
    }

    fn load(value: Value) -> Option<Self> {
        let (kind, index) = <(EventKind, usize)>::load(value)?;
        kind.desc().sequels.get(index)
    }
}

/// An array of at most one element, so that `None` differs from JSON's `null`.
impl<T: Persist> Persist for Option<T> {
    fn layout(into: &mut String) {
        into.push('?');
        T::layout(into);
    }

    fn save(&self) -> Value {
        self.iter().map(Persist::save).collect()
    }

    fn load(value: Value) -> Option<Self> {
        let mut values = Vec::<T>::load(value)?;
        let first = values.pop();
        values.is_empty().then_some(first)
    }
}

impl<T: Persist> Persist for Box<T> {
    fn layout(into: &mut String) {
        T::layout(into);
    }

    fn save(&self) -> Value {
        T::save(self)
    }

    fn load(value: Value) -> Option<Self> {
        T::load(value).map(Self::new)
    }
}

impl<T: Persist> Persist for Vec<T> {
    fn layout(into: &mut String) {
        into.push('*');
        T::layout(into);
    }

    fn save(&self) -> Value {
        self.iter().map(Persist::save).collect()
    }

    fn load(value: Value) -> Option<Self> {
        match value {
            Value::Array(values) => values.into_iter().map(T::load).collect(),
            _ => None,
        }
    }
}

impl<T: Persist> Persist for VecDeque<T> {
    fn layout(into: &mut String) {
        Vec::<T>::layout(into);
    }

    fn save(&self) -> Value {
        self.iter().map(Persist::save).collect()
    }

    fn load(value: Value) -> Option<Self> {
        Vec::load(value).map(Self::from)
    }
}

impl<T: Persist> Persist for [T; 2] {
    fn layout(into: &mut String) {
        into.push('2');
        T::layout(into);
    }

    fn save(&self) -> Value {
        self.iter().map(Persist::save).collect()
    }

    fn load(value: Value) -> Option<Self> {
        Vec::load(value)?.try_into().ok()
    }
}

impl<T: Persist, U: Persist> Persist for (T, U) {
    fn layout(into: &mut String) {
        into.push('(');
        T::layout(into);
        U::layout(into);
        into.push(')');
    }

    fn save(&self) -> Value {
        Value::Array(vec![self.0.save(), self.1.save()])
    }

    fn load(value: Value) -> Option<Self> {
        match <[Value; 2]>::load(value)? {
            [first, second] => Some((T::load(first)?, U::load(second)?)),
        }
    }
}
