// libpq's own header.
#include <libpq-fe.h>
