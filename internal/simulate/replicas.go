package simulate

import (
	"cmp"
	"slices"
)

// Batch is what tells one record batch from another.
type Batch struct {
	Base, Last int64
	Epoch      int32
	CRC        uint32
}

// Replicas is what is known of the replicas of some partitions: who led when, what has been committed. It looks from inside, which no client
// can, and so finds the cause before a client finds the effect.
//
//   - In one epoch there is one leader (TwoLeaders).
//   - A leader's high watermark never goes back in its epoch, and never beyond its log (HighWatermark).
//   - What was committed, that is below the high watermark of any leader, is the same for ever: every later leader has it (Diverged,
//     Incomplete), and so has whoever is in the ISR.
type Replicas struct {
	findings   *Findings
	partitions []*partitionReplicas
}

type partitionReplicas struct {
	leaders   map[int32]int
	committed []Batch
	under     []int32 // of each of committed, the epoch of the leader that committed it
	marks     map[reign]int64
	lossy     bool
	cut       int32 // epoch of the last unclean election
}

// Batches returns a log's whole batches of [from, to); false if they cannot be read now, which is trouble of its own.
type Batches func(from, to int64) ([]Batch, bool)

// Ever is the leader epoch above all others, for Replicas.Holds.
const Ever = int32(1<<31 - 1)

// reign is one leader's time in one epoch.
type reign struct {
	node  int
	epoch int32
}

// NewReplicas returns what is known of so many partitions at the beginning: nothing.
func NewReplicas(partitions int, f *Findings) *Replicas {
	r := &Replicas{findings: f}
	for range partitions {
		r.Grow()
	}
	return r
}

// Grow adds one more partition.
func (r *Replicas) Grow() {
	r.partitions = append(r.partitions, &partitionReplicas{leaders: map[int32]int{}, marks: map[reign]int64{}})
}

// Leads notes that node acts as leader of a partition in an epoch.
func (r *Replicas) Leads(partition int, node int, epoch int32) {
	p := r.partitions[partition]
	if other, known := p.leaders[epoch]; known && other != node {
		r.findings.Report(TwoLeaders, "partition %d, epoch %d: nodes %d and %d", partition, epoch, other, node)
		return
	}
	p.leaders[epoch] = node
}

// Committed returns the offset behind the last batch known to be committed.
func (r *Replicas) Committed(partition int) int64 {
	list := r.partitions[partition].committed
	if len(list) == 0 {
		return 0
	}
	return list[len(list)-1].Last + 1
}

// Mark notes a leader's high watermark. batches are the leader's.
func (r *Replicas) Mark(partition int, node int, epoch int32, mark, end int64, batches Batches) {
	p := r.partitions[partition]
	key := reign{node, epoch}
	if before, known := p.marks[key]; known && mark < before {
		r.findings.Report(HighWatermark, "partition %d: of leader %d in epoch %d it went from %d back to %d", partition, node, epoch, before, mark)
	}
	p.marks[key] = mark
	if epoch < p.cut {
		return
	}
	if mark > end {
		r.findings.Report(HighWatermark, "partition %d: of leader %d in epoch %d it is %d, its log ends at %d", partition, node, epoch, mark, end)
		return
	}
	known := r.Committed(partition)
	if mark <= known {
		return
	}
	list, readable := batches(known, mark)
	if !readable {
		return
	}
	for _, b := range list {
		if b.Last < known || b.Base >= mark {
			continue
		}
		if b.Base < known {
			r.findings.Report(Diverged, "partition %d: leader %d in epoch %d has %+v across %d, where what was committed ends", partition, node, epoch, b, known)
			return
		}
		p.committed, p.under = append(p.committed, b), append(p.under, epoch)
	}
}

// Holds checks that a replica's log, has all that was committed under leader epochs
// below before; why says why it must. full compares everything, else what was committed last is enough, by log matching. What is before
// start was deleted.
func (r *Replicas) Holds(partition, node int, start, end int64, before int32, full bool, why string, batches Batches) bool {
	p := r.partitions[partition]
	committed := p.committed
	for len(committed) > 0 && p.under[len(committed)-1] >= before {
		committed = committed[:len(committed)-1]
	}
	if len(committed) == 0 || committed[len(committed)-1].Last < start {
		return true
	}
	known := committed[len(committed)-1].Last + 1
	if end < known {
		r.findings.Report(Incomplete, "partition %d: node %d ends at %d, %d was committed; %s", partition, node, end, known, why)
		return false
	}
	want := committed[len(committed)-1:]
	if full {
		i, _ := slices.BinarySearchFunc(committed, start, func(b Batch, at int64) int { return cmp.Compare(b.Last, at) })
		want = committed[i:]
	}
	have, readable := batches(max(want[0].Base, start), known)
	if !readable {
		return true
	}
	for _, b := range want {
		if b.Base < start {
			continue
		}
		i, found := slices.BinarySearchFunc(have, b.Base, func(h Batch, base int64) int { return cmp.Compare(h.Base, base) })
		if !found || have[i] != b {
			r.findings.Report(Diverged, "partition %d: node %d does not have %+v, which was committed; %s", partition, node, b, why)
			return false
		}
	}
	return true
}

// Common returns up to where a log has what was committed: where that ends, or the first batch that the log does not have.
func (r *Replicas) Common(partition int, start, end int64, batches Batches) int64 {
	p := r.partitions[partition]
	have, _ := batches(start, end)
	for _, b := range p.committed {
		if b.Base < start {
			continue
		}
		i, found := slices.BinarySearchFunc(have, b.Base, func(h Batch, base int64) int { return cmp.Compare(h.Base, base) })
		if !found || have[i] != b {
			return b.Base
		}
	}
	return r.Committed(partition)
}

// Cut notes that what is behind to was given up on purpose: an unclean election, in an epoch. What leaders of earlier epochs commit from then on does not count.
func (r *Replicas) Cut(partition int, epoch int32, to int64) {
	p := r.partitions[partition]
	p.lossy, p.cut = true, epoch
	for len(p.committed) > 0 && p.committed[len(p.committed)-1].Last >= to {
		p.committed, p.under = p.committed[:len(p.committed)-1], p.under[:len(p.under)-1]
	}
}

// Lossy reports whether Cut was called.
func (r *Replicas) Lossy(partition int) bool { return r.partitions[partition].lossy }

// ISR checks one state of a partition: ISR and ELR are replicas, apart from each other, and the leader is in the ISR.
func (r *Replicas) ISR(partition int, leader int, replicas, isr, elr []int) {
	for _, set := range [][]int{isr, elr} {
		for i, n := range set {
			if !slices.Contains(replicas, n) || slices.Contains(set[:i], n) {
				r.findings.Report(BadISR, "partition %d: %v is not a part of the replicas %v", partition, set, replicas)
			}
		}
	}
	for _, n := range elr {
		if slices.Contains(isr, n) {
			r.findings.Report(BadISR, "partition %d: %d is in the ISR and in the ELR", partition, n)
		}
	}
	if leader >= 0 && !slices.Contains(isr, leader) {
		r.findings.Report(BadISR, "partition %d: leader %d is not in the ISR %v", partition, leader, isr)
	}
}
