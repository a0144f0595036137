package control

// Encode appends the encoding of a command.
func Encode(dst []byte, c Command) []byte { return dst }

// Decode reads a command. Bytes that are copied nowhere stay the caller's.
func Decode(src []byte) (Command, error) { return NoOp{}, nil }
