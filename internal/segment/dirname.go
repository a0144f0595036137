package segment

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ErrDirName is returned for a name that is not a partition directory's.
var ErrDirName = errors.New("segment: not the name of a partition directory")

// maxNameLength is the longest name that common file systems take.
const maxNameLength = 255

// DirState says in which step of its life a partition directory is.
type DirState uint8

// The states of a partition directory.
const (
	DirLive   DirState = iota
	DirDelete          // of a deleted topic, to be removed
	DirStray           // of a replica that is not assigned here any more; kept, not served
	DirFuture          // the destination of a move between log directories
)

var dirSuffixes = [...]string{DirLive: "", DirDelete: "-delete", DirStray: "-stray", DirFuture: "-future"}

// String is the state as it is written in the name.
func (s DirState) String() string {
	if s == DirLive {
		return "live"
	}
	return dirSuffixes[s][1:]
}

// DirName is the parsed name of a partition directory.
type DirName struct {
	// Topic is cut when the whole would not have fitted into 255 bytes; only
	// names with a state other than DirLive are ever cut.
	Topic     string
	Partition int32
	State     DirState
	ID        string // 32 hexadecimal digits that make a name with a state unique
}

// PartitionDirName is the name of a live partition's directory.
func PartitionDirName(topic string, partition int32) string {
	return topic + "-" + strconv.FormatInt(int64(partition), 10)
}

// String is the name of the directory, with the topic cut to make it fit.
func (d DirName) String() string {
	if d.State == DirLive {
		return PartitionDirName(d.Topic, d.Partition)
	}
	tail := "-" + strconv.FormatInt(int64(d.Partition), 10) + "." + d.ID + dirSuffixes[d.State]
	return d.Topic[:min(len(d.Topic), maxNameLength-len(tail))] + tail
}

// WithState is the name that the directory gets when it enters a state other
// than DirLive; id makes it unique.
func (d DirName) WithState(s DirState, id [16]byte) DirName {
	d.State, d.ID = s, hex.EncodeToString(id[:])
	return d
}

// ParseDirName parses the name of a partition directory as Kafka's
// LocalLog.parseTopicPartitionName does: a known suffix is dropped from the
// last '.' on, the rest is split at the last '-', since topics may contain '-'.
// The topic's characters are not checked. Errors are ErrDirName.
func ParseDirName(name string) (DirName, error) {
	var d DirName
	stem := name
	for s := DirDelete; s <= DirFuture; s++ {
		rest, ok := strings.CutSuffix(name, dirSuffixes[s])
		if !ok {
			continue
		}
		dot := strings.LastIndexByte(rest, '.')
		if dot < 0 || !isDirID(rest[dot+1:]) {
			return DirName{}, fmt.Errorf("%w: %q", ErrDirName, name)
		}
		stem, d.State, d.ID = rest[:dot], s, rest[dot+1:]
		break
	}
	dash := strings.LastIndexByte(stem, '-')
	if dash <= 0 {
		return DirName{}, fmt.Errorf("%w: %q", ErrDirName, name)
	}
	n, ok := parseDecimal(stem[dash+1:])
	if !ok || n > 1<<31-1 {
		return DirName{}, fmt.Errorf("%w: %q", ErrDirName, name)
	}
	d.Topic, d.Partition = stem[:dash], int32(n)
	return d, nil
}

func isDirID(s string) bool {
	if len(s) != 32 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
