//! The command line of Contraflow.
