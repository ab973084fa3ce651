//! What is counted, against hand-made nights.
