//! What a job may do, as data. Pure: no IO, no clock, no chance.
