package simulate

import (
	"cmp"
	"slices"
)

// History is what clients have done and seen, checked as it grows and, by Final, at the end. It knows of the system what clients know: what
// they sent, what they were told, what they read. Of each partition:
//
//   - what was acknowledged is read in the end, at the offset that was told (LostWrite, InconsistentOffset);
//   - what anybody has read is read in the end, at the same offset (LostRead, InconsistentOffset);
//   - once (Duplicate), in the order in which its producer sent it (Misordered), and only what was sent there (Phantom) and not refused (RefusedRead);
//   - no reader goes back (Nonmonotonic) or leaves out what is there (Skipped);
//   - of a transaction all or nothing is read (TornTransaction).
type History struct {
	findings   *Findings
	partitions []*partitionHistory
	txns       map[txnKey]*txnHistory
	acked      int64
	read       int64
}

// partitionHistory is the history of one partition.
type partitionHistory struct {
	byPayload map[recordKey]*recordHistory
	byOffset  map[int64]*recordHistory
	readers   map[int]int64 // the last offset that each was given
	deleted   int64         // what is below has been deleted on purpose, on some replica
	lossy     bool          // records may be lost: Allow
	lost      int
	untold    int
}

type recordKey struct {
	producer uint32
	sequence uint64
}

type txnKey struct {
	producer uint32
	txn      uint64
}

// recordHistory is what is known of one record.
type recordHistory struct {
	payload Payload
	offset  int64 // where it was told, or read, to be; -1: not known
	acked   bool  // under a promise that it stays
	refused bool
	read    bool
	gone    bool // retention has deleted it
	weak    bool // sent without a promise: it may be lost, or be there more than once
}

// txnHistory is what is known of one transaction.
type txnHistory struct {
	outcome Outcome
	records []*recordHistory
}

// Outcome is what a client knows of how its transaction ended.
type Outcome uint8

const (
	// Unknown means that no answer came: it may have been committed or aborted, wholly.
	Unknown Outcome = iota
	// Committed means that the coordinator said so.
	Committed
	// Aborted means that the coordinator said so.
	Aborted
)

// NewHistory returns an empty history of so many partitions.
func NewHistory(partitions int, f *Findings) *History {
	h := &History{findings: f, txns: map[txnKey]*txnHistory{}}
	for range partitions {
		h.Grow()
	}
	return h
}

// Grow adds one more partition.
func (h *History) Grow() {
	h.partitions = append(h.partitions, &partitionHistory{
		byPayload: map[recordKey]*recordHistory{},
		byOffset:  map[int64]*recordHistory{},
		readers:   map[int]int64{},
	})
}

// Acked returns how many records were acknowledged under a promise.
func (h *History) Acked() int64 { return h.acked }

// Reads returns how many records readers were given.
func (h *History) Reads() int64 { return h.read }

// Send notes that a client is about to send a record for the first time. weak says that nothing is promised for it: acks 0 or 1, no
// idempotence.
func (h *History) Send(p Payload, weak bool) {
	r := &recordHistory{payload: p, offset: -1, weak: weak}
	h.partitions[p.Partition].byPayload[recordKey{p.Producer, p.Sequence}] = r
	if p.Txn != 0 {
		t := h.txn(p.Producer, p.Txn)
		t.records = append(t.records, r)
	}
}

func (h *History) txn(producer uint32, txn uint64) *txnHistory {
	k := txnKey{producer, txn}
	t := h.txns[k]
	if t == nil {
		t = &txnHistory{}
		h.txns[k] = t
	}
	return t
}

// Ack notes that a record was acknowledged, and at which offset; -1 if that was not told.
func (h *History) Ack(p Payload, offset int64) {
	part := h.partitions[p.Partition]
	r := part.byPayload[recordKey{p.Producer, p.Sequence}]
	if r == nil {
		h.findings.Report(Phantom, "acknowledged but never sent: %+v", p)
		return
	}
	if r.weak {
		return
	}
	if !r.acked {
		h.acked++
	}
	r.acked = true
	if offset >= 0 {
		h.place(part, r, offset)
	}
}

// Allow notes that from now on records of a partition may be lost, by an unclean election that its topic allows. Which, Lose says: what else
// is missing at the end must have been acknowledged, or read, at a leader of before, which did not know.
func (h *History) Allow(partition int) { h.partitions[partition].lossy = true }

// Lose notes that the records from an offset on are lost, and returns how many acknowledged ones there were.
func (h *History) Lose(partition int, from int64) (lost int) {
	part := h.partitions[partition]
	for offset, r := range part.byOffset {
		if offset >= from {
			if r.acked {
				lost++
			}
			delete(part.byOffset, offset)
			r.offset, r.acked, r.read = -1, false, false
		}
	}
	part.lost += lost
	return lost
}

// Lost returns how many records have been lost where that was allowed, and how many of them nobody has told when it happened.
func (h *History) Lost() (told, untold int) {
	for _, p := range h.partitions {
		told += p.lost
		untold += p.untold
	}
	return told, untold
}

// Refuse notes that a record was refused for good, by an answer that says that it was not written.
func (h *History) Refuse(p Payload) {
	r := h.partitions[p.Partition].byPayload[recordKey{p.Producer, p.Sequence}]
	if r != nil {
		r.refused = true
		if r.read {
			h.findings.Report(RefusedRead, "read and then refused: %+v", p)
		}
	}
}

// End notes how a transaction ended, as far as its client knows.
func (h *History) End(producer uint32, txn uint64, o Outcome) { h.txn(producer, txn).outcome = o }

// Read notes that a reader was given a record. Offsets of one reader grow; Rewind lets it begin again.
func (h *History) Read(reader int, partition int, offset int64, value []byte) {
	part := h.partitions[partition]
	if last, began := part.readers[reader]; began && offset <= last {
		h.findings.Report(Nonmonotonic, "reader %d of partition %d was given offset %d after %d", reader, partition, offset, last)
	}
	part.readers[reader] = offset
	r := h.identify(partition, offset, value)
	if r == nil {
		return
	}
	h.read++
	r.read = true
	if r.refused {
		h.findings.Report(RefusedRead, "%+v was refused and is read at offset %d", r.payload, offset)
	}
	if t := r.payload.Txn; t != 0 && h.txn(r.payload.Producer, t).outcome == Aborted {
		h.findings.Report(RefusedRead, "%+v is read at offset %d, its transaction was aborted", r.payload, offset)
	}
	if !r.weak {
		h.place(part, r, offset)
	}
}

// Rewind forgets where a reader was: it begins again, as after an unclean exit or a reset.
func (h *History) Rewind(reader int, partition int) { delete(h.partitions[partition].readers, reader) }

// identify finds the record that a value is.
func (h *History) identify(partition int, offset int64, value []byte) *recordHistory {
	p, err := ParsePayload(value)
	if err != nil {
		h.findings.Report(Phantom, "partition %d has at offset %d what nobody wrote: %x", partition, offset, value)
		return nil
	}
	if int(p.Partition) != partition {
		h.findings.Report(Phantom, "partition %d has at offset %d a record of partition %d", partition, offset, p.Partition)
		return nil
	}
	r := h.partitions[partition].byPayload[recordKey{p.Producer, p.Sequence}]
	if r == nil || r.payload != p {
		h.findings.Report(Phantom, "partition %d has at offset %d what was not sent: %+v", partition, offset, p)
		return nil
	}
	return r
}

// Deleted notes that what is below an offset of a partition has been deleted on purpose. A record there that is sent again, because nobody has
// acknowledged it, may be written once more: who leads may not know its producer any more, as in Kafka.
func (h *History) Deleted(partition int, below int64) {
	part := h.partitions[partition]
	part.deleted = max(part.deleted, below)
}

// place notes where a record is.
func (h *History) place(part *partitionHistory, r *recordHistory, offset int64) {
	if part.lossy {
		if other := part.byOffset[r.offset]; r.offset >= 0 && other == r {
			delete(part.byOffset, r.offset)
		}
		if other := part.byOffset[offset]; other != nil && other != r {
			other.offset = -1 // lost, unless it is read in the end
		}
		r.offset, part.byOffset[offset] = offset, r
		return
	}
	if r.offset >= 0 && r.offset != offset && (r.offset >= part.deleted || offset < part.deleted) {
		h.findings.Report(Duplicate, "%+v is at offset %d and at %d", r.payload, r.offset, offset)
		return
	}
	if other := part.byOffset[offset]; other != nil && other != r {
		h.findings.Report(InconsistentOffset, "partition %d, offset %d: %+v and %+v", r.payload.Partition, offset, other.payload, r.payload)
		return
	}
	r.offset = offset
	part.byOffset[offset] = r
}

// Found is a record of a partition, as it is read at the end.
type Found struct {
	Offset int64
	Value  []byte
}

// Final takes all that can be read of a partition from start on at the end, once the system is well again, by a reader of committed records.
func (h *History) Final(partition int, start int64, records []Found) {
	part := h.partitions[partition]
	there := make(map[*recordHistory]bool, len(records))
	lastOf := map[uint32]uint64{}
	at := int64(-1)
	for _, f := range records {
		if f.Offset <= at {
			h.findings.Report(Nonmonotonic, "partition %d, at the end: offset %d after %d", partition, f.Offset, at)
		}
		at = f.Offset
		r := h.identify(partition, f.Offset, f.Value)
		if r == nil {
			continue
		}
		p := r.payload
		if r.refused {
			h.findings.Report(RefusedRead, "%+v was refused and is there at the end", p)
		}
		if r.weak {
			there[r] = true
			continue
		}
		if there[r] {
			h.findings.Report(Duplicate, "%+v is there twice at the end, at %d and %d", p, r.offset, f.Offset)
		}
		there[r] = true
		h.place(part, r, f.Offset)
		if last, some := lastOf[p.Producer]; some && last >= p.Sequence {
			h.findings.Report(Misordered, "partition %d: producer %d's record %d is behind its %d", partition, p.Producer, p.Sequence, last)
		}
		lastOf[p.Producer] = p.Sequence
	}
	// In an order that does not depend on a map, so that the first finding is the same each time.
	known := make([]*recordHistory, 0, len(part.byPayload))
	for _, r := range part.byPayload {
		known = append(known, r)
	}
	slices.SortFunc(known, func(a, b *recordHistory) int {
		return cmp.Or(cmp.Compare(a.payload.Producer, b.payload.Producer), cmp.Compare(a.payload.Sequence, b.payload.Sequence))
	})
	for _, r := range known {
		r.gone = r.offset >= 0 && r.offset < start
		if there[r] || r.weak || r.gone {
			continue
		}
		if r.payload.Txn != 0 { // what it is worth, its transaction says
			if r.read {
				h.findings.Report(LostRead, "%+v was read at offset %d and is not there at the end", r.payload, r.offset)
			}
			continue
		}
		switch {
		case part.lossy:
			if r.acked {
				part.untold++
			}
		case r.acked:
			h.findings.Report(LostWrite, "%+v was acknowledged at offset %d and is not there at the end", r.payload, r.offset)
		case r.read:
			h.findings.Report(LostRead, "%+v was read at offset %d and is not there at the end", r.payload, r.offset)
		}
	}
	for _, r := range known {
		if there[r] {
			h.noteTxn(r)
		}
	}
}

// noteTxn notes that a record of a transaction is there at the end.
func (h *History) noteTxn(r *recordHistory) {
	if r.payload.Txn != 0 {
		r.read = true
	}
}

// FinalTransactions checks, after Final of every partition, that of each transaction all or nothing is there, as its outcome says.
func (h *History) FinalTransactions() {
	keys := make([]txnKey, 0, len(h.txns))
	for k := range h.txns {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b txnKey) int {
		return cmp.Or(cmp.Compare(a.producer, b.producer), cmp.Compare(a.txn, b.txn))
	})
	for _, k := range keys {
		t := h.txns[k]
		there, acked, missing := 0, 0, 0
		for _, r := range t.records {
			if r.gone && !r.read {
				continue
			}
			if r.read {
				there++
			}
			if r.acked {
				acked++
				if !r.read {
					missing++
				}
			}
		}
		switch {
		case t.outcome == Committed && missing > 0:
			h.findings.Report(TornTransaction, "producer %d's transaction %d was committed; %d of its %d acknowledged records are there",
				k.producer, k.txn, acked-missing, acked)
		case t.outcome == Aborted && there > 0:
			h.findings.Report(RefusedRead, "producer %d's transaction %d was aborted; %d of its records are there", k.producer, k.txn, there)
		case there > 0 && missing > 0:
			h.findings.Report(TornTransaction, "of producer %d's transaction %d, %d records are there and %d acknowledged ones are not",
				k.producer, k.txn, there, missing)
		}
	}
}

// Covered checks that a reader who has come from one offset to another was given all that is known to be there.
func (h *History) Covered(reader, partition int, from, to int64, given func(offset int64) bool) {
	part := h.partitions[partition]
	for o := from; o < to; o++ {
		if r := part.byOffset[o]; r != nil && r.acked && r.payload.Txn == 0 && !given(o) {
			h.findings.Report(Skipped, "reader %d of partition %d passed offset %d, where %+v is", reader, partition, o, r.payload)
		}
	}
}
