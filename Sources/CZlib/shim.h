// zlib's own header: raw deflate for RFC 7692.
#include <zlib.h>
