package kafkatest

import "errors"

// ErrCrashed is why connections end when the cluster crashes.
var ErrCrashed = errors.New("the broker crashed")

// ErrRule is why connections end that a rule closes.
var ErrRule = errors.New("closed by a rule of the test")

// ErrClosed is returned after Close.
var ErrClosed = errors.New("the cluster is closed")

// ErrNoPowerLoss is returned by Crash with PowerLoss if the disk does not remember what has been synced: see FaultyDisk.
var ErrNoPowerLoss = errors.New("power is lost only on a FaultyDisk: this disk does not remember what has been synced")
