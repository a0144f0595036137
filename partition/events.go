package partition

import (
	"time"

	"github.com/partlog/partlog/log"
)

// PartitionRecovery says what the open of one partition found and did.
type PartitionRecovery = log.RecoveryReport

// Events are functions that a store calls when something happens that no call returns. Each may be nil. They are
// called on a goroutine of the store or of whoever caused the event, with no lock held; they must not block, and
// must not call Store.Close.
type Events struct {
	// Warning reports something unusual that was not repaired and need not be, as a network file system or a
	// directory that is not the store's.
	Warning func(Warning)
	// Recovered reports each partition in which an open found something other than a clean end.
	Recovered func(TopicPartition, PartitionRecovery)
	// PartitionFailed reports the first failure of background work or of a sync; Partition calls return it too.
	PartitionFailed func(TopicPartition, error)
	// ReplicaCorrupt reports, in a cluster only, each read, and each Store.Verify, that finds damaged bytes (a *log.CorruptionError) in the copy of a partition here.
	ReplicaCorrupt func(TopicPartition, error)
	// ReplicaFull reports, in a cluster only, each append to a partition that is led here for which there was no room.
	ReplicaFull func(TopicPartition, error)
	// LowSpace reports that free space has fallen below Config.LowSpaceBytes (low is true) or has risen again.
	LowSpace func(free, threshold int64, low bool)
	// Retained reports what one check of retention dropped from a partition.
	Retained func(TopicPartition, Retained)
	// TransactionEnded reports each transaction of a transactional id when its last marker and its end are written.
	TransactionEnded func(TransactionEnded)
	// Compacted reports each pass of compaction over a partition.
	Compacted func(TopicPartition, Compacted)
	// Uncleanable reports that a partition is not compacted any more until the store is opened again, because something in it
	// cannot be read (a *log.CorruptionError) or a file operation has failed. Nothing has been deleted.
	Uncleanable func(TopicPartition, error)
	// TopicCreated and TopicDeleted report changes of the catalogue.
	TopicCreated func(name string, id TopicID)
	TopicDeleted func(name string, id TopicID)
}

// Warning is an argument of Events.Warning.
type Warning struct {
	Path string
	Text string
}

// Retained is an argument of Events.Retained.
type Retained struct {
	Segments int
	Bytes    int64
	LogStart Offset
	Took     time.Duration
}

func (s *Store) warn(path, text string) {
	if f := s.config.Events.Warning; f != nil {
		f(Warning{Path: path, Text: text})
	}
}

// partitionCorrupt reports that bytes of a copy are bad, in a cluster: others have them.
func (s *Store) partitionCorrupt(p *part, err error) {
	if f := s.config.Events.ReplicaCorrupt; f != nil && s.config.Cluster != nil {
		f(p.tp, err)
	}
}

func (s *Store) partitionFailed(p *part, err error) {
	p.counters.failures.Add(1)
	if p.failed.CompareAndSwap(false, true) {
		s.counters.failedPartitions.Add(1)
		if f := s.config.Events.PartitionFailed; f != nil {
			f(p.tp, err)
		}
	}
}
