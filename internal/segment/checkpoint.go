package segment

import (
	"strconv"
	"strings"
)

// maxCheckpointBytes bounds what is read of a text checkpoint: several hundred
// thousand partitions, or epochs.
const maxCheckpointBytes = 64 << 20

// parseCheckpoint splits a text checkpoint into its entries' fields and calls
// entry for each. A file of no bytes has no entries: Kafka's CheckpointFile
// creates one before it has anything to write.
func parseCheckpoint(data []byte, fields int, entry func(position int, f []string) error) error {
	if len(data) == 0 {
		return nil
	}
	text := string(data)
	position := 0
	line := func() (string, bool) {
		l, rest, ok := strings.Cut(text, "\n")
		if !ok {
			return "", false
		}
		position += len(l) + 1
		text = rest
		return l, true
	}
	l, ok := line()
	version, err := strconv.ParseInt(l, 10, 32)
	if !ok || err != nil {
		return corrupt(0, "first line of checkpoint is no version")
	}
	if err := checkVersion(version, checkpointVersion, 0); err != nil {
		return err
	}
	start := position
	l, ok = line()
	count, err := strconv.ParseUint(l, 10, 31)
	if !ok || err != nil {
		return corrupt(start, "second line of checkpoint is no number of entries")
	}
	for range count {
		start = position
		l, ok = line()
		f := strings.Fields(l)
		if !ok || len(f) != fields {
			return corrupt(start, "checkpoint line has not %d fields and an end", fields)
		}
		if err := entry(start, f); err != nil {
			return err
		}
	}
	if len(text) > 0 {
		return corrupt(position, "checkpoint has more than its %d entries", count)
	}
	return nil
}

func appendCheckpointHeader(dst []byte, entries int) []byte {
	dst = strconv.AppendInt(dst, checkpointVersion, 10)
	dst = append(dst, '\n')
	dst = strconv.AppendInt(dst, int64(entries), 10)
	return append(dst, '\n')
}
