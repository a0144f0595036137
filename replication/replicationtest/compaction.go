package replicationtest

import (
	"hash/fnv"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/simulate"
	"github.com/partlog/partlog/log"
)

// keyHistory is all that has been committed to a compacted partition: by offset, and of each key the last.
type keyHistory struct {
	records map[int64]uint64 // digests of key and value
	keys    map[string]int64 // offset of the last record
	before  map[int64]string // keys by offset, of those that are the last
	upTo    int64            // committed
	cleaned int64            // compaction may have been below, on any replica
}

func newKeyHistory() *keyHistory {
	return &keyHistory{records: map[int64]uint64{}, keys: map[string]int64{}, before: map[int64]string{}}
}

func digest(r *batch.Record) uint64 {
	h := fnv.New64a()
	_, _ = h.Write(r.Key) // a hash takes everything
	_, _ = h.Write([]byte{0, byte(min(len(r.Value), 1))})
	_, _ = h.Write(r.Value)
	return h.Sum64()
}

// eachRecord calls f for each record of the log in [from, to), and reports whether all could be read.
func (r *replicaState) eachRecord(from, to int64, f func(*batch.Record)) bool {
	for at := max(log.Offset(from), r.log.Start()); at < log.Offset(to); {
		v, err := r.log.ReadReplica(at, 1<<20)
		if err != nil {
			r.trouble("read", err)
			return false
		}
		if len(v.Bytes) == 0 {
			return true
		}
		for b := v.Bytes; len(b) > 0; {
			one, err := batch.Peek(b)
			if err != nil {
				break
			}
			var it batch.Iterator
			one.Iterate(&it, 1<<20)
			for it.Next() {
				if o := it.Record().Offset; o >= from && o < to {
					f(it.Record())
				}
			}
			b = b[len(one):]
		}
		at = v.Next
		v.Release()
	}
	return true
}

// committedKeys notes what a leader has committed.
func (r *replicaState) committedKeys(high int64) {
	m := r.l.c.keys[r.p.index]
	if m == nil || high <= m.upTo {
		return
	}
	from := m.upTo
	if r.eachRecord(from, high, func(x *batch.Record) {
		m.records[x.Offset] = digest(x)
		key := string(x.Key)
		if last, known := m.keys[key]; known {
			delete(m.before, last)
		}
		m.keys[key], m.before[x.Offset] = x.Offset, key
	}) {
		m.upTo = high
	}
}

// compact removes what has been overwritten.
func (r *replicaState) compact() {
	c := r.l.c
	m := c.keys[r.p.index]
	if m == nil {
		return
	}
	now := r.l.clock.Now()
	dirty, err := r.log.Dirty(now)
	if err != nil || !dirty.Due {
		return
	}
	m.cleaned = max(m.cleaned, int64(dirty.Uncleanable))
	result, err := r.log.Clean(log.CleanOptions{Now: now, MapBytes: 64 << 10})
	r.l.node.cleaned[r.p.index] = int64(r.log.Cleaned())
	if err != nil {
		r.trouble("clean", err)
		return
	}
	if result.KeptRecords < result.Records {
		c.counts.Add("compaction", 1)
	}
	r.checkKeys("compaction has been")
}

// checkKeys checks a log of a compacted partition: what it has was committed there, and of what it reaches to, the last record of each key is there.
func (r *replicaState) checkKeys(why string) {
	c := r.l.c
	m := c.keys[r.p.index]
	if m == nil || r.log == nil || r.offline {
		return
	}
	end := min(int64(r.log.Visible()), m.upTo)
	there := map[int64]bool{}
	if !r.eachRecord(0, end, func(x *batch.Record) {
		if want, known := m.records[x.Offset]; !known || want != digest(x) {
			c.findings.Report(simulate.Diverged, "%s on %s: what is at offset %d was not committed there; %s", r.p.name, r.l.name, x.Offset, why)
		}
		there[x.Offset] = true
	}) {
		return
	}
	for _, offset := range sortedKeys(m.before) {
		if offset < end && !there[offset] {
			c.findings.Report(simulate.LostValue, "%s on %s: the last record of key %x, at offset %d, is not there, up to %d; %s", r.p.name, r.l.name, m.before[offset], offset, end, why)
			return
		}
	}
}
