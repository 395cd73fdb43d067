// Written by web/build.mjs.
[
    ("app-40f9c62fe229.js", include_bytes!("assets/app-40f9c62fe229.js").as_slice()),
    ("app-e21e6d4eb0f0.css", include_bytes!("assets/app-e21e6d4eb0f0.css").as_slice()),
]
