package segment

import (
	"path/filepath"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/partlog/partlog/internal/vfs"
)

// MetaProperties is the content of meta.properties: whose log directory it is.
type MetaProperties struct {
	Version     int    // 1; 0 is that of ZooKeeper times, which has no DirectoryID
	ClusterID   string // uuid text, or what an old cluster was given; empty only in version 0
	NodeID      int32  // node.id, broker.id in version 0; −1 when absent there
	DirectoryID string // uuid text (KIP-858); empty when absent
}

// AppendMetaProperties appends the content of meta.properties, always of
// version 1, to dst. It does not depend on the time, unlike Kafka's, which has a
// comment with the date.
func AppendMetaProperties(dst []byte, m MetaProperties) []byte {
	line := func(key, value string) {
		dst = append(dst, key...)
		dst = append(dst, '=')
		dst = appendProperty(dst, value)
		dst = append(dst, '\n')
	}
	line("version", strconv.Itoa(metaPropertiesVersion))
	line("cluster.id", m.ClusterID)
	line("node.id", strconv.FormatInt(int64(m.NodeID), 10))
	if m.DirectoryID != "" {
		line("directory.id", m.DirectoryID)
	}
	return dst
}

// ParseMetaProperties parses the content of meta.properties. Keys that are not
// known are ignored. Errors are *CorruptError and *VersionError.
func ParseMetaProperties(data []byte) (MetaProperties, error) {
	if len(data) == 0 {
		return MetaProperties{}, corrupt(0, "meta.properties is empty")
	}
	if !utf8.Valid(data) {
		return MetaProperties{}, corrupt(0, "meta.properties is no text")
	}
	properties, err := parseProperties(string(data))
	if err != nil {
		return MetaProperties{}, err
	}
	text, ok := properties["version"]
	version, err := strconv.ParseInt(text, 10, 32)
	if !ok || err != nil {
		return MetaProperties{}, corrupt(0, "meta.properties has no version")
	}
	if err := checkVersion(version, metaPropertiesVersion, 0); err != nil {
		return MetaProperties{}, err
	}
	m := MetaProperties{Version: int(version), ClusterID: properties["cluster.id"], NodeID: -1}
	node := properties["node.id"]
	if version == 0 && node == "" {
		node = properties["broker.id"]
	}
	if node != "" {
		id, ok := parseDecimal(node)
		if !ok || id > 1<<31-1 {
			return MetaProperties{}, corrupt(0, "meta.properties has no valid node.id")
		}
		m.NodeID = int32(id)
	}
	if m.DirectoryID = properties["directory.id"]; m.DirectoryID != "" {
		if _, err := ParseUUID(m.DirectoryID); err != nil {
			return MetaProperties{}, corrupt(0, "meta.properties has no valid directory.id")
		}
	}
	if version > 0 && (m.ClusterID == "" || node == "") {
		return MetaProperties{}, corrupt(0, "meta.properties lacks cluster.id or node.id")
	}
	return m, nil
}

// WriteMetaProperties replaces meta.properties in dir. It is complete and synced
// when it returns nil.
func WriteMetaProperties(fsys vfs.FS, dir string, m MetaProperties) error {
	return vfs.WriteFileAtomic(fsys, filepath.Join(dir, MetaPropertiesName), AppendMetaProperties(nil, m))
}

// ReadMetaProperties reads meta.properties from dir. Errors are
// ParseMetaProperties' and the file system's.
func ReadMetaProperties(fsys vfs.FS, dir string) (MetaProperties, error) {
	path := filepath.Join(dir, MetaPropertiesName)
	data, err := readFile(fsys, path, maxMetadataBytes)
	if err != nil {
		return MetaProperties{}, err
	}
	m, err := ParseMetaProperties(data)
	return m, at(path, err)
}

// appendProperty escapes a value as java.util.Properties.store does.
func appendProperty(dst []byte, value string) []byte {
	for i, r := range value {
		switch {
		case r == ' ' && i == 0, r == '\\', r == '#', r == '!', r == '=', r == ':':
			dst = append(dst, '\\', byte(r))
		case r == '\t':
			dst = append(dst, `\t`...)
		case r == '\n':
			dst = append(dst, `\n`...)
		case r == '\r':
			dst = append(dst, `\r`...)
		case r == '\f':
			dst = append(dst, `\f`...)
		case r < ' ' || r > '~':
			for _, u := range utf16.AppendRune(nil, r) {
				const hex = "0123456789ABCDEF"
				dst = append(dst, '\\', 'u', hex[u>>12], hex[u>>8&15], hex[u>>4&15], hex[u&15])
			}
		default:
			dst = append(dst, byte(r))
		}
	}
	return dst
}

// parseProperties parses the format of java.util.Properties.load: comments,
// three separators, escapes and continued lines. The last value of a key wins.
func parseProperties(text string) (map[string]string, error) {
	text = strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\r", "\n")
	properties := make(map[string]string)
	lines := strings.Split(text, "\n")
	for i := 0; i < len(lines); i++ {
		line := strings.TrimLeft(lines[i], " \t\f")
		if line == "" || line[0] == '#' || line[0] == '!' {
			continue
		}
		var joined strings.Builder
		for continues(line) {
			joined.WriteString(line[:len(line)-1])
			line = ""
			if i++; i < len(lines) {
				line = strings.TrimLeft(lines[i], " \t\f")
			}
		}
		joined.WriteString(line)
		key, value := splitProperty(joined.String())
		k, ok1 := unescape(key)
		v, ok2 := unescape(value)
		if !ok1 || !ok2 {
			return nil, corrupt(0, "meta.properties has a malformed \\u escape")
		}
		properties[k] = v
	}
	return properties, nil
}

// continues reports whether line ends in an odd number of backslashes.
func continues(line string) bool {
	return (len(line)-len(strings.TrimRight(line, `\`)))%2 == 1
}

func splitProperty(line string) (key, value string) {
	end := 0
	for end < len(line) && !strings.ContainsRune(" \t\f=:", rune(line[end])) {
		if line[end] == '\\' {
			end++
		}
		end++
	}
	end = min(end, len(line))
	value = strings.TrimLeft(line[end:], " \t\f")
	if value != "" && (value[0] == '=' || value[0] == ':') {
		value = strings.TrimLeft(value[1:], " \t\f")
	}
	return line[:end], value
}

func unescape(s string) (string, bool) {
	if !strings.Contains(s, `\`) {
		return s, true
	}
	var units []uint16
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		i += size
		if r != '\\' || i >= len(s) {
			units = utf16.AppendRune(units, r)
			continue
		}
		r, size = utf8.DecodeRuneInString(s[i:])
		i += size
		switch r {
		case 't':
			r = '\t'
		case 'n':
			r = '\n'
		case 'r':
			r = '\r'
		case 'f':
			r = '\f'
		case 'u':
			if i+4 > len(s) {
				return "", false
			}
			u, err := strconv.ParseUint(s[i:i+4], 16, 16)
			if err != nil {
				return "", false
			}
			units = append(units, uint16(u))
			i += 4
			continue
		}
		units = utf16.AppendRune(units, r)
	}
	return string(utf16.Decode(units)), true
}
