package compress
func compressGzip(dst, src []byte, level int) ([]byte, error) { return nil,nil }
func compressSnappy(dst, src []byte) ([]byte, error) { return nil,nil }
func compressLZ4(dst, src []byte, level int) ([]byte, error) { return nil,nil }
func compressZstd(dst, src []byte, level int) ([]byte, error) { return nil,nil }
func decompressGzip(dst, src []byte, max int) ([]byte, error) { return nil,nil }
func decompressSnappy(dst, src []byte, max int) ([]byte, error) { return nil,nil }
func decompressLZ4(dst, src []byte, max int) ([]byte, error) { return nil,nil }
func decompressZstd(dst, src []byte, max int) ([]byte, error) { return nil,nil }
