package partition

import (
	"errors"

	"github.com/partlog/partlog/log"
)

// Errors of a store that is one of several (Config.Cluster), with Kafka's names where Kafka has one. All but ErrInvalidReplicationFactor are
// retriable.
var (
	// ErrNotLeaderOrFollower says that another node leads the partition, or that this one has ceased to. An append may have been
	// written, and may be lost or kept.
	ErrNotLeaderOrFollower = log.ErrNotLeaderOrFollower
	// ErrNotEnoughReplicas says that fewer replicas are in sync than min.insync.replicas. Nothing was appended.
	ErrNotEnoughReplicas = errors.New("not enough replicas in sync")
	// ErrNotEnoughReplicasAfterAppend says the same of a batch that was written already, and may be kept.
	ErrNotEnoughReplicasAfterAppend = errors.New("not enough replicas in sync after the append")
	// ErrWritten is part of an error, such as ErrNotLeaderOrFollower, where the batch was or may have been written before, and may be kept:
	// without it nothing was.
	ErrWritten = errors.New("the batch is written, and may be kept")
	// ErrOffsetNotAvailable says that a new leader does not know its high watermark yet.
	ErrOffsetNotAvailable = errors.New("offset not available: the leader is new")
	// ErrSharedConflict says that another change of the shared catalogue came first. The store's methods look again by themselves.
	ErrSharedConflict = errors.New("another change of the catalogue came first")
	// ErrInvalidReplicationFactor says that there are not that many nodes. A store that is alone has one.
	ErrInvalidReplicationFactor = errors.New("invalid replication factor")
)
