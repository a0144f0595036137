package partition

import (
	"errors"

	"github.com/partlog/partlog/log"
)

// Replica is a handle of the copy of a partition that this node has, for replication. It belongs to the copy: after RemoveReplica its
// methods return ErrClosed. Append, Truncate, Reset and SetLogStart are for one goroutine at a time.
type Replica struct {
	p *part
	l *log.Log
}

// Replica returns the copy of a partition: ErrUnknownTopicOrPartition, ErrUnknownTopicID, ErrNotLeaderOrFollower if there is none here, or why it
// could not be opened.
func (s *Store) Replica(tp TopicPartition, id TopicID) (*Replica, error) {
	p, err := s.part(tp, id)
	if err != nil {
		return nil, s.closedOr(err)
	}
	l, err := p.open()
	if err != nil {
		return nil, err
	}
	return &Replica{p, l}, nil
}

// TopicPartition returns the partition's name.
func (r *Replica) TopicPartition() TopicPartition { return r.p.tp }

// TopicID returns the topic's id.
func (r *Replica) TopicID() TopicID { return r.p.t.id }

// End returns the log end offset: what is written, durable or not.
func (r *Replica) End() Offset { return r.l.Written() }

// Promised returns how far this copy counts for the high watermark: Durable with SyncAlways, otherwise End.
func (r *Replica) Promised() Offset {
	if st := r.p.t.settings.Load(); st.log.Sync == SyncAlways {
		return r.l.Durable()
	}
	return r.l.Written()
}

// Durable returns the offset after the last synced record.
func (r *Replica) Durable() Offset { return r.l.Durable() }

// Start returns the log start offset.
func (r *Replica) Start() Offset { return r.l.Start() }

// HighWatermark returns what SetHighWatermark has set last, and Truncate may have lowered.
func (r *Replica) HighWatermark() Offset { return r.l.Visible() }

// LastEpoch returns the newest leader epoch of the log's epoch cache, -1 if it is empty: a leader's own from SetReplica on.
func (r *Replica) LastEpoch() (LeaderEpoch, error) { return r.l.LastEpoch() }

// EpochEnd returns the largest epoch of the log that is not above e, and the offset at which it ends; -1 and -1 if e is above all that it has
// (KIP-101, KIP-279).
func (r *Replica) EpochEnd(e LeaderEpoch) (LeaderEpoch, Offset, error) { return r.l.EpochEnd(e) }

// EpochAt returns the leader epoch of the record at an offset, -1 if it is not known.
func (r *Replica) EpochAt(o Offset) (LeaderEpoch, error) { return r.l.EpochAt(o) }

// Damaged reports whether the last open found that records are missing within the copy, or cannot be read: it may have less than what its
// end says.
func (r *Replica) Damaged() bool {
	for _, f := range r.l.Report().Findings {
		if f.Kind == log.CorruptMiddle || f.Kind == log.MissingSegment || f.Action == log.ActionQuarantined {
			return true
		}
	}
	return false
}

// Bytes returns the size of the copy's segments.
func (r *Replica) Bytes() int64 { return r.l.Stats().Bytes }

// Sync makes everything written durable. Its errors end the copy, see Events.PartitionFailed.
func (r *Replica) Sync() error { return r.failed(r.l.Sync()) }

// Read fills r with whole batches from an offset on, up to End and at most maxBytes, but at least one; with nothing at End. The bytes are
// borrowed until r.Lease is released, and stay as they are when their records are cut off. r is overwritten.
func (r *Replica) Read(from Offset, maxBytes int, out *FetchResult) error {
	*out = FetchResult{TopicPartition: r.p.tp, Aborted: out.Aborted[:0]}
	out.HighWatermark, out.LogStart = r.l.Visible(), r.l.Start()
	out.LastStable = r.p.lastStable(r.l, out.HighWatermark)
	view, err := r.l.ReadReplica(from, maxBytes)
	if err != nil {
		r.p.readFailed(from, out, err)
		return out.Err
	}
	out.Batches = view.Bytes
	out.Lease = Lease{view: view, held: true}
	r.p.counters.bytesOut.Add(int64(len(view.Bytes)))
	return nil
}

// Append appends batches that were read from the leader, as they are (see log.Log.AppendReplica), and returns End; with SyncAlways all of it is
// durable. Errors: ErrNotLeaderOrFollower if this node leads the partition; *log.OffsetOutOfRangeError, and ErrCorrupt for bytes that are not what a
// leader wrote, with nothing appended; ErrNoSpace; ErrStorage, which ends the copy.
func (r *Replica) Append(batches []byte) (Offset, error) {
	end, err := r.l.AppendReplica(batches)
	return end, r.failed(err)
}

// Truncate removes all records from offset to on (see log.Log.TruncateTo). When it returns nil that holds across a crash. The
// high watermark falls if it was above. ErrNotLeaderOrFollower if this node leads the partition.
func (r *Replica) Truncate(to Offset) error {
	return r.cut(eventTruncated, to, func() error { return r.l.TruncateTo(to) })
}

// Reset removes all records and has the copy begin, and end, at start (see log.Log.ResetTo).
func (r *Replica) Reset(start Offset) error {
	return r.cut(eventReset, start, func() error { return r.l.ResetTo(start) })
}

// cut removes records, after it has made sure that the next open does not miss them.
func (r *Replica) cut(kind uint8, at Offset, remove func() error) error {
	p := r.p
	p.roles.Lock() // nobody becomes leader meanwhile
	defer p.roles.Unlock()
	if role := p.role.Load(); role != nil && role.Role == RoleLeader {
		return ErrNotLeaderOrFollower
	}
	s := p.s
	var e encoder
	e.mark(mark{id: p.t.id, partition: p.tp.Partition, offset: at})
	s.mu.Lock()
	var err error
	if cp := s.catPart(p); cp != nil && (kind == eventReset || cp.knowsBehind(at)) {
		err = s.commitLocked(kind, e.buf)
	}
	p.cutting = err == nil // no recovery point of before is persisted
	s.mu.Unlock()
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.start.imprint = log.Imprint{}
	p.mu.Unlock()
	err = remove()
	s.mu.Lock()
	p.cutting = false
	s.mu.Unlock()
	p.wakeFetches()
	return r.failed(err)
}

// SetHighWatermark raises the high watermark, to End at most, and wakes those who wait for it. It never falls here.
func (r *Replica) SetHighWatermark(o Offset) {
	if r.l.SetHighWatermark(o) {
		r.p.highWatermarkMoved(o)
	}
}

// SetLogStart raises the log start to o, or to the high watermark if that is lower; when it returns nil that is durable.
func (r *Replica) SetLogStart(o Offset) error {
	o = min(o, r.l.Visible())
	if o <= r.l.Start() {
		return nil
	}
	_, err := r.p.s.raiseLogStart(r.p, r.l, o)
	return r.failed(err)
}

// failed reports the first failure of the disk.
func (r *Replica) failed(err error) error {
	if errors.Is(err, ErrStorage) {
		r.p.s.partitionFailed(r.p, err)
	}
	return r.p.gone(err)
}
