package quorum

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// The version of all formats in this file. A program refuses every higher one.
const formatVersion = 1

// The journal of a quorum holds records of these kinds, and images in place of its snapshots. Both lie in the journal's
// envelopes, which have length and checksum. Integers are uvarints, but for the lineage, which is 8 bytes big-endian.
//
//	record "ready": what one Ready of raft has to have on disk before anything is sent
//	  version · term · vote · commit · count of entries · index of the first · entries
//	record "base": an image with this generation was written before; without that image the rest means nothing
//	  version · generation
//	record "note": for a reader (see Dump); means nothing, but makes the journal's index move
//	  text
//	record "lost": the leader knew of more than the log held, the text says how; the log is never opened again
//	  text
//	entry:  type · term · length · data
//	image:  version · node · directory · lineage · generation · term · vote · commit
//	        · snapshot: index · term · length · ConfState (raftpb) · length · state
//	        · index and term of the entry before the first · count of entries · entries
const (
	kindReady uint8 = 1
	kindBase  uint8 = 2
	kindNote  uint8 = 3
	kindLost  uint8 = 4
)

// A message between members.
//
//	 0  version  1
//	 1  lineage  8  which quorum, and after which Recover
//	 9  CRC      4  CRC-32C of all other bytes
//	13  message     raftpb.Message
const messageHeader = 13

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// hardState is raft's HardState without pointers.
type hardState struct{ term, vote, commit uint64 }

func (h hardState) raft() *raftpb.HardState {
	return &raftpb.HardState{Term: new(h.term), Vote: new(h.vote), Commit: new(h.commit)}
}

// place is where an entry is in the log.
type place struct{ index, term uint64 }

// snapshot is the caller's state after an entry, with the members as of then.
type snapshot struct {
	place
	conf *raftpb.ConfState
	data []byte
}

// image is everything that the log holds.
type image struct {
	self       Member
	lineage    uint64
	generation uint64
	hard       hardState
	snapshot   snapshot
	before     place // of the first entry
	entries    []*raftpb.Entry
}

func appendImage(dst []byte, m *image) ([]byte, error) {
	dst = append(dst, formatVersion)
	dst = appendUints(dst, uint64(m.self.Node), uint64(m.self.Directory))
	dst = binary.BigEndian.AppendUint64(dst, m.lineage)
	dst = appendUints(dst, m.generation, m.hard.term, m.hard.vote, m.hard.commit, m.snapshot.index, m.snapshot.term)
	conf, err := proto.MarshalOptions{Deterministic: true}.Marshal(m.snapshot.conf)
	if err != nil {
		return nil, err
	}
	dst = appendBytes(dst, conf)
	dst = appendBytes(dst, m.snapshot.data)
	dst = appendUints(dst, m.before.index, m.before.term, uint64(len(m.entries)))
	for _, e := range m.entries {
		dst = appendEntry(dst, e)
	}
	return dst, nil
}

// decodeImage decodes an image; data and entries alias b.
func decodeImage(b []byte) (*image, error) {
	d := decoder{rest: b}
	d.version()
	m := &image{}
	m.self = Member{Node: int32(d.uint(1<<31 - 1)), Directory: uint32(d.uint(1<<32 - 1))}
	m.lineage = d.fixed()
	m.generation = d.uint(0)
	m.hard = hardState{d.uint(0), d.uint(0), d.uint(0)}
	m.snapshot.place = place{d.uint(0), d.uint(0)}
	conf := d.bytes()
	m.snapshot.data = d.bytes()
	m.before = place{d.uint(0), d.uint(0)}
	m.entries = d.entries(m.before.index + 1)
	if err := d.finish(); err != nil {
		return nil, fmt.Errorf("image: %w", err)
	}
	m.snapshot.conf = &raftpb.ConfState{}
	if err := proto.Unmarshal(conf, m.snapshot.conf); err != nil {
		return nil, fmt.Errorf("image: %w: members: %w", ErrMalformed, err)
	}
	if err := checkConf(m.snapshot.conf); err != nil {
		return nil, fmt.Errorf("image: %w", err)
	}
	switch last := m.before.index + uint64(len(m.entries)); {
	case m.before.index > m.snapshot.index || last < m.snapshot.index || m.hard.commit > last || m.hard.commit < m.snapshot.index:
		return nil, fmt.Errorf("image: %w: entries %d to %d, snapshot %d, commit %d", ErrMalformed, m.before.index+1, last, m.snapshot.index, m.hard.commit)
	}
	return m, nil
}

// readyRecord is what has to be durable at once.
type readyRecord struct {
	hard    hardState
	entries []*raftpb.Entry
}

func appendReady(dst []byte, r *readyRecord) []byte {
	dst = append(dst, formatVersion)
	dst = appendUints(dst, r.hard.term, r.hard.vote, r.hard.commit, uint64(len(r.entries)))
	if len(r.entries) == 0 {
		return dst
	}
	dst = appendUints(dst, r.entries[0].GetIndex())
	for _, e := range r.entries {
		dst = appendEntry(dst, e)
	}
	return dst
}

// decodeReady decodes a record; entries alias b.
func decodeReady(b []byte) (*readyRecord, error) {
	d := decoder{rest: b}
	d.version()
	r := &readyRecord{hard: hardState{d.uint(0), d.uint(0), d.uint(0)}}
	count := d.uint(0)
	if count > 0 {
		index := d.uint(0)
		r.entries = d.someEntries(count, index)
		if index == 0 && d.err == nil {
			d.err = fmt.Errorf("%w: entry with the index 0", ErrMalformed)
		}
	}
	if err := d.finish(); err != nil {
		return nil, fmt.Errorf("record: %w", err)
	}
	return r, nil
}

func appendBase(dst []byte, generation uint64) []byte {
	return appendUints(append(dst, formatVersion), generation)
}

func decodeBase(b []byte) (generation uint64, err error) {
	d := decoder{rest: b}
	d.version()
	generation = d.uint(0)
	return generation, d.finish()
}

func appendEntry(dst []byte, e *raftpb.Entry) []byte {
	dst = appendUints(dst, uint64(e.GetType()), e.GetTerm())
	return appendBytes(dst, e.GetData())
}

// entryOverhead is more than appendEntry needs besides the data.
const entryOverhead = 3 * binary.MaxVarintLen64

func appendUints(dst []byte, list ...uint64) []byte {
	for _, v := range list {
		dst = binary.AppendUvarint(dst, v)
	}
	return dst
}

func appendBytes(dst, b []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}

// decoder reads one thing after the other; the first error stays.
type decoder struct {
	rest []byte
	err  error
}

func (d *decoder) fail(format string, a ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, a...))
		d.rest = nil
	}
}

func (d *decoder) version() {
	if len(d.rest) == 0 {
		d.fail("empty")
		return
	}
	v := d.rest[0]
	d.rest = d.rest[1:]
	switch {
	case v > formatVersion:
		d.err = fmt.Errorf("%w: format %d, this program reads up to %d", ErrNewerVersion, v, formatVersion)
		d.rest = nil
	case v != formatVersion:
		d.fail("format %d", v)
	}
}

// uint reads a number of at most most, if that is not 0.
func (d *decoder) uint(most uint64) uint64 {
	v, n := binary.Uvarint(d.rest)
	if n <= 0 || most > 0 && v > most {
		d.fail("impossible number")
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

func (d *decoder) fixed() uint64 {
	if len(d.rest) < 8 {
		d.fail("cut short")
		return 0
	}
	v := binary.BigEndian.Uint64(d.rest)
	d.rest = d.rest[8:]
	return v
}

func (d *decoder) bytes() []byte {
	n := d.uint(0)
	if n > uint64(len(d.rest)) {
		d.fail("%d bytes where %d are left", n, len(d.rest))
	}
	if d.err != nil || n == 0 {
		return nil
	}
	b := d.rest[:n:n]
	d.rest = d.rest[n:]
	return b
}

func (d *decoder) entries(first uint64) []*raftpb.Entry { return d.someEntries(d.uint(0), first) }

func (d *decoder) someEntries(count, first uint64) []*raftpb.Entry {
	if count > uint64(len(d.rest))/3 {
		d.fail("%d entries in %d bytes", count, len(d.rest))
		return nil
	}
	if count > 0 && first+count < first {
		d.fail("impossible index")
		return nil
	}
	list := make([]*raftpb.Entry, 0, count)
	for i := range count {
		kind, term := raftpb.EntryType(d.uint(uint64(raftpb.EntryConfChangeV2))), d.uint(0)
		data := d.bytes()
		if d.err != nil {
			return nil
		}
		list = append(list, &raftpb.Entry{Type: kind.Enum(), Term: new(term), Index: new(first + i), Data: data})
	}
	return list
}

func (d *decoder) finish() error {
	if d.err == nil && len(d.rest) > 0 {
		d.fail("%d bytes too many", len(d.rest))
	}
	return d.err
}

// checkConf refuses members that raft would panic at, and those that this package never makes.
func checkConf(conf *raftpb.ConfState) error {
	seen := map[uint64]bool{}
	for _, list := range [][]uint64{conf.GetVoters(), conf.GetLearners()} {
		for _, id := range list {
			if _, of := memberOf(id); !of || seen[id] {
				return fmt.Errorf("%w: members: impossible or repeated id %x", ErrMalformed, id)
			}
			seen[id] = true
		}
	}
	if len(conf.GetVotersOutgoing()) > 0 || len(conf.GetLearnersNext()) > 0 || conf.GetAutoLeave() {
		return fmt.Errorf("%w: members: joint, which they never are", ErrMalformed)
	}
	if len(conf.GetVoters()) == 0 && len(conf.GetLearners()) > 0 {
		return fmt.Errorf("%w: members: nobody votes", ErrMalformed)
	}
	return nil
}
