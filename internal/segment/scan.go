package segment

import (
	"fmt"
	"io"

	"github.com/partlog/partlog/internal/batch"
)

// ScanKind says what a scan found at a place.
type ScanKind uint8

// The findings of a scan. CorruptMiddle is the only one with valid batches
// behind it; each other kind but CleanEnd is the tail of the file, and there is
// at most one.
const (
	// CleanEnd: the last batch ends where the file does.
	CleanEnd ScanKind = iota
	// TornTail: an incomplete or damaged batch, and nothing valid behind it.
	TornTail
	// ZeroTail: nothing but zeros, the preallocated part of a log file.
	ZeroTail
	// StaleTail: whole batches with right checksums that do not continue the
	// log: remains of something cut off, or a last batch whose base offset or
	// leader epoch, which the checksum leaves out, is damaged.
	StaleTail
	// CorruptMiddle: a damaged or missing range with valid batches behind it.
	CorruptMiddle
	// ForeignTail: valid messages of a format that is not read here (magic 0 and
	// 1, of Kafka before 0.11).
	ForeignTail
)

// String is the kind in words.
func (k ScanKind) String() string {
	return [...]string{"clean end", "torn tail", "zero tail", "stale tail", "corrupt middle", "foreign tail"}[k]
}

// MarshalText writes String, for reports in JSON.
func (k ScanKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// Damage is a range of a log file that holds no readable batch.
type Damage struct {
	Kind ScanKind

	// Position and NextPosition bound the bytes: the next valid batch of a
	// CorruptMiddle, else the end of the file. They are equal when no byte is
	// damaged but offsets are missing.
	Position, NextPosition int64

	// Offset and NextOffset bound the offsets that are missing: NextOffset is
	// the base offset of the next valid batch, NoOffset for a tail.
	Offset, NextOffset int64

	// Zeroed is how many of the bytes lie in sectors of 512 bytes that are all
	// zero. A write that power loss interrupted leaves such sectors.
	Zeroed int64

	// Err is what is wrong at Position.
	Err error
}

// ScanOptions are what the caller knows of a log file before a scan.
type ScanOptions struct {
	// Next is the offset expected at the first position; 0 means the base
	// offset of the segment.
	Next int64
	// LeaderEpoch is the lowest leader epoch that the first batch may have; 0
	// allows all.
	LeaderEpoch int32
	// MaxLeaderEpoch is the highest that any batch may have; 0 allows all.
	MaxLeaderEpoch int32
	// Epochs, if there are any, are leader epochs known from elsewhere. A batch
	// that begins one of them is believed over a later batch of a lower epoch.
	Epochs *Epochs
	// Compacted allows gaps between offsets, as compaction leaves them: to be set
	// if the log was ever compacted. Without it a gap is damage.
	Compacted bool
}

// ScanResult is what a scan found.
type ScanResult struct {
	Kind         ScanKind // of the end of the file, never CorruptMiddle
	End          int64    // position behind the last valid batch
	Next         int64    // offset behind the last valid batch
	LeaderEpoch  int32    // of the last valid batch, else the option's
	Batches      int64    // valid batches
	Bytes        int64    // their size
	MaxTimestamp int64    // the largest of their timestamps, NoTimestamp without
	Damage       []Damage // in the order of the file; the tail, if there is one, is the last
}

// Clean reports whether every byte belongs to a valid batch.
func (r *ScanResult) Clean() bool { return len(r.Damage) == 0 }

// Tail returns the damage at the end of the file, nil when it ends cleanly.
func (r *ScanResult) Tail() *Damage {
	if r.Kind == CleanEnd {
		return nil
	}
	return &r.Damage[len(r.Damage)-1]
}

// Scan reads the log file of the segment that begins at offset base, from
// position from to size, and calls visit for every valid batch, in order. A batch
// is valid if its checksum is right and if it continues the log, which the
// checksum cannot tell: its base offset is the one that follows the batch before
// (with Compacted: is not below it), its last offset fits the segment, its leader
// epoch does not fall.
//
// Where no valid batch follows, Scan looks for one further on, describes the
// range in between as Damage and goes on. It changes nothing. Damage is no
// error: the error is that of r, or that of visit, which ends the scan; the
// result then covers what was read so far.
//
// The batch given to visit is borrowed until visit returns. No memory is
// allocated per batch.
func Scan(r io.ReaderAt, from, size, base int64, o ScanOptions, visit func(position int64, b batch.Batch) error) (ScanResult, error) {
	s := newScanner(r, from, size, base, o)
	defer s.release()
	err := s.run(visit)
	if err != nil {
		err = fmt.Errorf("scan from position %d: %w", s.result.End, err)
	}
	return s.result, err
}
