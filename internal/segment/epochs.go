package segment

import (
	"path/filepath"
	"slices"
	"strconv"

	"github.com/partlog/partlog/internal/vfs"
)

// NoEpoch and NoOffset are the answers of Epochs when it knows none (KIP-101's
// UNDEFINED_EPOCH and UNDEFINED_EPOCH_OFFSET).
const (
	NoEpoch  int32 = -1
	NoOffset int64 = -1
)

// EpochStart says that the leader epoch Epoch began with offset Start.
type EpochStart struct {
	Epoch int32
	Start int64
}

// Epochs is the leader epochs of one partition and where each begins, with the
// rules of Kafka's LeaderEpochFileCache (KIP-101, KIP-279). The zero value is
// empty and ready. It is for one goroutine at a time.
//
// Invariant: epochs and start offsets are both strictly increasing.
type Epochs struct {
	entries []EpochStart
}

// Assign records that epoch begins at offset start and reports whether that was
// news. Entries that contradict it, by a later epoch or a later start, are
// removed: the batches that made them have been cut off the log.
func (e *Epochs) Assign(epoch int32, start int64) bool {
	if epoch < 0 || start < 0 {
		return false
	}
	if latest, ok := e.Latest(); ok && latest.Epoch == epoch && start >= latest.Start {
		return false
	}
	n := len(e.entries)
	for n > 0 && (e.entries[n-1].Epoch >= epoch || e.entries[n-1].Start >= start) {
		n--
	}
	e.entries = append(e.entries[:n], EpochStart{epoch, start})
	return true
}

// Latest returns the newest epoch; ok is false when there is none.
func (e *Epochs) Latest() (s EpochStart, ok bool) {
	if len(e.entries) == 0 {
		return EpochStart{NoEpoch, NoOffset}, false
	}
	return e.entries[len(e.entries)-1], true
}

// EndOffset answers OffsetsForLeaderEpoch: the largest known epoch that is not
// above epoch, and the offset at which it ended; logEnd for the latest. An epoch
// above all that are known gets (NoEpoch, NoOffset), one below all gets itself
// and the start of the first known.
func (e *Epochs) EndOffset(epoch int32, logEnd int64) (int32, int64) {
	if epoch == NoEpoch {
		return NoEpoch, NoOffset
	}
	higher, _ := slices.BinarySearchFunc(e.entries, epoch, func(s EpochStart, epoch int32) int {
		if s.Epoch <= epoch {
			return -1
		}
		return 1
	})
	switch {
	case higher == len(e.entries):
		if latest, ok := e.Latest(); ok && latest.Epoch == epoch {
			return epoch, logEnd
		}
		return NoEpoch, NoOffset
	case higher == 0:
		return epoch, e.entries[0].Start
	}
	return e.entries[higher-1].Epoch, e.entries[higher].Start
}

// At returns the epoch of the batch at offset, NoEpoch below the first start.
func (e *Epochs) At(offset int64) int32 {
	for i := len(e.entries) - 1; i >= 0; i-- {
		if e.entries[i].Start <= offset {
			return e.entries[i].Epoch
		}
	}
	return NoEpoch
}

// TruncateFromEnd removes the epochs that begin at end or behind it, and reports
// whether there were any.
func (e *Epochs) TruncateFromEnd(end int64) bool {
	n := len(e.entries)
	for n > 0 && e.entries[n-1].Start >= end {
		n--
	}
	changed := n < len(e.entries)
	e.entries = e.entries[:n]
	return changed
}

// TruncateFromStart makes start the first known offset: epochs that ended before
// it are removed, the one that holds it begins with it. It reports whether
// anything changed.
func (e *Epochs) TruncateFromStart(start int64) bool {
	n := 0
	for n < len(e.entries) && e.entries[n].Start <= start {
		n++
	}
	if n == 0 || n == 1 && e.entries[0].Start == start {
		return false
	}
	e.entries = slices.Delete(e.entries, 0, n-1)
	e.entries[0].Start = start
	return true
}

// Len is the number of epochs.
func (e *Epochs) Len() int { return len(e.entries) }

// Entries returns a copy of the entries, oldest first.
func (e *Epochs) Entries() []EpochStart { return slices.Clone(e.entries) }

// AppendTo appends the content of leader-epoch-checkpoint to dst.
func (e *Epochs) AppendTo(dst []byte) []byte {
	dst = appendCheckpointHeader(dst, len(e.entries))
	for _, s := range e.entries {
		dst = strconv.AppendInt(dst, int64(s.Epoch), 10)
		dst = append(dst, ' ')
		dst = strconv.AppendInt(dst, s.Start, 10)
		dst = append(dst, '\n')
	}
	return dst
}

// ParseEpochs parses the content of leader-epoch-checkpoint. No bytes are no
// entries, as for Kafka. Errors are *CorruptError and *VersionError; the batches
// of the log carry the same information, so the caller can rebuild.
func ParseEpochs(data []byte) (Epochs, error) {
	var e Epochs
	last := EpochStart{-1, -1}
	err := parseCheckpoint(data, 2, func(position int, f []string) error {
		epoch, ok := parseDecimal(f[0])
		if !ok || epoch > 1<<31-1 {
			return corrupt(position, "checkpoint line has no epoch")
		}
		start, ok := parseDecimal(f[1])
		if !ok {
			return corrupt(position, "checkpoint line has no start offset")
		}
		s := EpochStart{int32(epoch), start}
		if s.Epoch <= last.Epoch || s.Start <= last.Start {
			return corrupt(position, "checkpoint line is not above the one before")
		}
		e.entries, last = append(e.entries, s), s
		return nil
	})
	if err != nil {
		return Epochs{}, err
	}
	return e, nil
}

// Write replaces leader-epoch-checkpoint in dir. It is complete and synced when
// it returns nil.
func (e *Epochs) Write(fsys vfs.FS, dir string) error {
	return vfs.WriteFileAtomic(fsys, filepath.Join(dir, EpochCheckpointName), e.AppendTo(nil))
}

// ReadEpochs reads leader-epoch-checkpoint from dir. Errors are ParseEpochs' and
// the file system's.
func ReadEpochs(fsys vfs.FS, dir string) (Epochs, error) {
	path := filepath.Join(dir, EpochCheckpointName)
	data, err := readFile(fsys, path, maxCheckpointBytes)
	if err != nil {
		return Epochs{}, err
	}
	e, err := ParseEpochs(data)
	return e, at(path, err)
}
