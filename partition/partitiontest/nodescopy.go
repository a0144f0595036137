package partitiontest

import (
	"slices"

	"github.com/partlog/partlog/partition"
)

// copyAll copies to all followers what they lack, and moves the high watermark. mu is held.
func (n *Nodes) copyAll(tp partition.TopicPartition) {
	p := n.parts[tp]
	if p == nil || p.leader < 0 || n.down[p.leader] {
		return
	}
	leader, err := n.stores[p.leader].Replica(tp, p.id)
	if err != nil {
		return
	}
	high := leader.Promised()
	followers := map[int32]*partition.Replica{}
	for i, s := range n.stores {
		if int32(i) == p.leader || n.down[int32(i)] {
			continue
		}
		f, err := s.Replica(tp, p.id)
		if err == nil {
			err = copyOne(leader, f)
		}
		if err != nil {
			if slices.Contains(p.isr, int32(i)) {
				return // nothing is acknowledged without it
			}
			continue
		}
		followers[int32(i)] = f
		if slices.Contains(p.isr, int32(i)) {
			high = min(high, f.Promised())
		}
	}
	if len(p.isr) >= p.minISR {
		leader.SetHighWatermark(high)
	}
	for _, f := range followers {
		f.SetHighWatermark(leader.HighWatermark())
		_ = f.SetLogStart(leader.Start()) // tried again
	}
}

// copyOne makes a follower's log its leader's, by Kafka's rules (KIP-101, KIP-279).
func copyOne(leader, f *partition.Replica) error {
	for {
		last, err := f.LastEpoch()
		if err != nil {
			return err
		}
		epoch, end, err := leader.EpochEnd(last)
		if err != nil {
			return err
		}
		switch {
		case f.End() < leader.Start() || f.End() > leader.End() && last < 0:
			err = f.Reset(leader.Start())
		case last >= 0 && (epoch < last || end < f.End()):
			err = diverge(f, epoch, end)
		default:
			return copyRecords(leader, f)
		}
		if err != nil {
			return err
		}
	}
}

func diverge(f *partition.Replica, epoch partition.LeaderEpoch, end partition.Offset) error {
	mine, own, err := f.EpochEnd(epoch)
	switch {
	case err != nil:
		return err
	case mine < 0:
		return f.Truncate(min(end, f.End()))
	case mine != epoch:
		return f.Truncate(min(own, f.End()))
	}
	return f.Truncate(min(own, end, f.End()))
}

func copyRecords(leader, f *partition.Replica) error {
	var r partition.FetchResult
	for f.End() < leader.End() {
		if err := leader.Read(f.End(), 1<<20, &r); err != nil {
			return err
		}
		_, err := f.Append(r.Batches)
		r.Lease.Release()
		if err != nil {
			return err
		}
	}
	return nil
}

// unlock releases mu when all that has grown is copied.
func (n *Nodes) unlock() {
	for {
		more := n.takeGrown()
		for tp := range more {
			n.copyAll(tp)
		}
		if len(more) > 0 {
			continue
		}
		n.mu.Unlock()
		n.grown.Lock()
		left := len(n.more)
		n.grown.Unlock()
		if left == 0 || !n.mu.TryLock() {
			return // or whoever has it now sees to it
		}
	}
}

func (n *Nodes) takeGrown() map[partition.TopicPartition]bool {
	n.grown.Lock()
	defer n.grown.Unlock()
	more := n.more
	n.more = nil
	return more
}
