//! The files of modules: their order, and the paths of types between them.

use std::collections::BTreeSet;

use crate::model::{Catalogue, Module};
use crate::names;

/// Returns the modules, each after those whose types it uses.
pub(super) fn ordered(catalogue: &Catalogue) -> Vec<&Module> {
    let mut ordered: Vec<&Module> = Vec::new();
    let mut rest: Vec<&Module> = catalogue.modules.iter().collect();
    while !rest.is_empty() {
        let names: BTreeSet<&str> = rest.iter().map(|module| &*module.module).collect();
        let is_ready = |module: &&Module| {
            imported(catalogue, module).iter().all(|name| *name == module.module || !names.contains(name))
        };
        // Modules that use each other stay in the order of their names.
        let at = rest.iter().position(is_ready).unwrap_or(0);
        ordered.push(rest.remove(at));
    }
    ordered
}

/// Returns the modules that define the types which a module uses, itself included.
fn imported<'a>(catalogue: &'a Catalogue, module: &'a Module) -> BTreeSet<&'a str> {
    let of_structs = module.structs.iter().flat_map(|ty| &ty.members);
    let members = of_structs.chain(module.events.iter().flat_map(|event| &event.members));
    let branches = module.structs.iter().flat_map(|ty| &ty.variants).filter_map(|one| one.ty.as_deref());
    let types = members.map(|member| member.ty.base()).chain(branches);
    types.filter_map(|ty| defining(catalogue, ty)).map(|module| &*module.module).collect()
}

/// Returns the module that defines a type; `None` for a builtin type.
fn defining<'a>(catalogue: &'a Catalogue, ty: &str) -> Option<&'a Module> {
    catalogue.modules.iter().find(|module| {
        module.enums.iter().any(|one| one.name == ty) || module.structs.iter().any(|one| one.name == ty)
    })
}

/// The module whose file is generated.
#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    pub(super) catalogue: &'a Catalogue,
    pub(super) module: &'a Module,
}

impl Scope<'_> {
    /// Returns the path of a type of the catalogue in this file.
    pub(super) fn path(self, ty: &str) -> String {
        match defining(self.catalogue, ty) {
            Some(defining) if defining.module != self.module.module => {
                format!("super::{}::{ty}", names::module(&defining.module))
            }
            _ => ty.to_owned(),
        }
    }
}
