package kafka

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// ReadProperties reads a file of properties as Java has them (server.properties): NAME=VALUE, NAME:VALUE or NAME VALUE to a
// line, # and ! begin comments, a backslash at the end goes on with the next line and escapes elsewhere (\t, \n, \r, \f,
// \uXXXX). Of a name that comes twice the last value counts. Errors name the line.
func ReadProperties(r io.Reader) (map[string]string, error) {
	props := map[string]string{}
	in := bufio.NewScanner(r)
	in.Buffer(nil, 1<<20)
	for number := 1; in.Scan(); number++ {
		line := strings.TrimLeft(in.Text(), " \t\f")
		if line == "" || line[0] == '#' || line[0] == '!' {
			continue
		}
		first := number
		for continued(line) {
			line = line[:len(line)-1]
			if !in.Scan() {
				break
			}
			number++
			line += strings.TrimLeft(in.Text(), " \t\f")
		}
		name, value := splitProperty(line)
		name, err := unescape(name)
		if err == nil {
			value, err = unescape(value)
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", first, err)
		}
		props[name] = value
	}
	if err := in.Err(); err != nil {
		return nil, fmt.Errorf("properties: %w", err)
	}
	return props, nil
}

// continued reports whether a line ends with a backslash that is not escaped itself.
func continued(line string) bool {
	n := len(line) - len(strings.TrimRight(line, `\`))
	return n%2 == 1
}

// splitProperty divides a line at the first =, : or blank that is not escaped, with the blanks around it.
func splitProperty(line string) (name, value string) {
	end := len(line)
	for i := 0; i < len(line); i++ {
		if line[i] == '\\' {
			i++
			continue
		}
		if strings.IndexByte("=: \t\f", line[i]) >= 0 {
			end = i
			break
		}
	}
	rest := strings.TrimLeft(line[end:], " \t\f")
	if rest != "" && (rest[0] == '=' || rest[0] == ':') {
		rest = strings.TrimLeft(rest[1:], " \t\f")
	}
	return line[:end], rest
}

func unescape(s string) (string, error) {
	if !strings.Contains(s, `\`) {
		return s, nil
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		switch s[i] {
		case 't':
			b.WriteByte('\t')
		case 'n':
			b.WriteByte('\n')
		case 'r':
			b.WriteByte('\r')
		case 'f':
			b.WriteByte('\f')
		case 'u':
			if i+4 >= len(s) {
				return "", fmt.Errorf("malformed \\uXXXX in %q", s)
			}
			n, err := strconv.ParseUint(s[i+1:i+5], 16, 16)
			if err != nil {
				return "", fmt.Errorf("malformed \\uXXXX in %q", s)
			}
			b.WriteRune(rune(n))
			i += 4
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String(), nil
}
