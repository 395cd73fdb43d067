// Written by web/build.mjs.
[
    ("app-3127081f9899.js", include_bytes!("assets/app-3127081f9899.js").as_slice()),
    ("app-e21e6d4eb0f0.css", include_bytes!("assets/app-e21e6d4eb0f0.css").as_slice()),
]
