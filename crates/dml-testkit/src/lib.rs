//! Goldens, gradient checks and device selection for the tests of the workspace
